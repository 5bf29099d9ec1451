// Sweep results as heat maps: every pair of settings a cell, its figure written in it.

import { get } from "./api.js";
import { el, empty, failure, fill, loading } from "./dom.js";
import { signedUsd, time } from "./format.js";
import { wordsOf } from "./options.js";
import { field, select } from "./parts.js";

const DEEP = 55; // percent of the colour in the best and the worst cell

/** The list of sweeps; one opens below it. */
export function sweepList() {
  const inside = el("div", {}, loading());
  const opened = el("div");
  const node = el("section.card", { "aria-label": "Sweeps" }, el("header", {}, el("h2", {}, "Sweeps")), inside, opened);
  const ask = async () => {
    try {
      const sweeps = await get("sweeps");
      if (!sweeps.length) {
        fill(inside, empty("No sweep was made yet. ", el("code", {}, "scripts/backtest sweep"), " tries many settings at once."));
        return;
      }
      fill(inside, el("ul.inside.group", {}, sweeps.map((one) => el("li", {},
        el("button", { type: "button", onclick: () => openSweep(one, opened) }, one.name, " ", el("span.quiet", {}, one.symbol ?? ""), " ", time(one.made_at))))));
    } catch (error) {
      fill(inside, failure(error, ask));
    }
  };
  ask();
  return node;
}

async function openSweep(one, box) {
  fill(box, loading());
  try {
    const sweep = await get("sweep", { name: one.name });
    fill(box, heatMap(one, sweep));
  } catch (error) {
    fill(box, failure(error, () => openSweep(one, box)));
  }
}

/** `points`: [{settings: {axis: value}, figures: {name: text}}] */
function heatMap(one, sweep) {
  const axes = sweep.axes ?? one.axes ?? [];
  const names = axes.map((axis) => axis.name ?? axis.option ?? axis);
  const points = sweep.points ?? sweep.results ?? sweep.cells ?? [];
  if (!points.length || !names.length) return empty("This sweep has no results.");
  const settingsOf = (point) => point.settings ?? point.at ?? point;
  const figuresOf = (point) => point.figures ?? point;
  const figureNames = Object.keys(figuresOf(points[0])).filter((name) => isFigure(figuresOf(points[0])[name]) && !names.includes(name));
  const valuesOf = (name) => [...new Set(points.map((point) => String(settingsOf(point)[name])))].sort((a, b) => Number(a) - Number(b));
  const figure = select(figureNames.map((name) => [name, name.replaceAll("_", " ")]), figureNames.includes("result_usd") ? "result_usd" : figureNames[0]);
  const across = select(names.map((name) => [name, wordsOf(name)]), names[0]);
  const down = select(names.map((name) => [name, wordsOf(name)]), names[1] ?? names[0]);
  const map = el("div.scroll", { tabindex: "0", role: "region", "aria-label": "Heat map" });
  const draw = () => {
    const x = across.value, y = down.value;
    const best = (column, row) => points
      .filter((point) => String(settingsOf(point)[x]) === column && (x === y || String(settingsOf(point)[y]) === row))
      .map((point) => figuresOf(point)[figure.value]).filter((value) => value !== null && value !== undefined)
      .sort((a, b) => Number(b) - Number(a))[0];
    const columns = valuesOf(x), rows = x === y ? [""] : valuesOf(y);
    const all = rows.map((row) => columns.map((column) => best(column, row)));
    const sizes = all.flat().filter((value) => value !== undefined).map(Number);
    const most = Math.max(...sizes.map(Math.abs), 1e-9), top = Math.max(...sizes);
    fill(map, el("table.heat", {}, el("caption.unseen", {}, `${figure.value} by ${wordsOf(x)} and ${wordsOf(y)}`),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, x === y ? "" : `${wordsOf(y)} \\ ${wordsOf(x)}`), columns.map((value) => el("th.num", { scope: "col" }, value)))),
      el("tbody", {}, rows.map((row, at) => el("tr", {}, el("th", { scope: "row" }, row), all[at].map((value) => {
        const cell = el("td", {}, value === undefined ? "-" : figure.value.endsWith("_usd") ? signedUsd(value) : String(value));
        if (value === undefined) return cell;
        const depth = Math.round((Math.abs(Number(value)) / most) * DEEP);
        cell.style.background = `color-mix(in srgb, var(--${Number(value) < 0 ? "loss" : "gain"}) ${depth}%, transparent)`;
        if (Number(value) === top) {
          cell.classList.add("best");
          cell.title = "the best";
        }
        return cell;
      }))))));
  };
  for (const control of [figure, across, down]) control.addEventListener("change", draw);
  draw();
  return el("div.inside", {}, el("div.filters", {}, field("heat-figure", "Figure", figure), field("heat-across", "Across", across), field("heat-down", "Down", down)), map);
}

function isFigure(value) {
  return value !== null && typeof value !== "object" && !Number.isNaN(Number(value)) && typeof value !== "boolean";
}
