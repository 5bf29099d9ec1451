// Sweep results as heat maps: every pair of settings a cell, its figure written in it.

import { get } from "./api.js";
import { el, empty, failure, fill, loading } from "./dom.js";
import { counted, moment, number, percent, signedUsd, time, usd } from "./format.js";
import { typed, wordsOf } from "./options.js";
import { field, select } from "./parts.js";

const DEEP = 60; // percent of the colour in the cell that is farthest from zero
const FIGURES = [
  ["result_usd", "Result, USD", signedUsd], ["return_percent", "Result of what the ladder needs", percent],
  ["drawdown_percent", "Worst drawdown, %", number], ["cycles", "Cycles", number],
  ["orders", "Orders", number], ["fees_usd", "Fees, USD", usd],
];
const LESS_IS_BETTER = ["drawdown_percent", "drawdown_usd", "fees_usd"];

/** The list of sweeps; one opens below it. */
export function sweepList() {
  const inside = el("div", {}, loading());
  const opened = el("div");
  const node = el("section.card", { "aria-label": "Sweeps" }, el("header", {}, el("h2", {}, "Sweeps")), inside, opened);
  const ask = async () => {
    try {
      const sweeps = await get("sweeps");
      if (!sweeps.length) {
        fill(inside, empty("No sweep was made yet. ", el("code", {}, "scripts/sweep"), " tries many settings at once."));
        return;
      }
      fill(inside, el("ul.inside.group", {}, sweeps.map((one) => el("li", {},
        el("button", { type: "button", onclick: () => openSweep(one, opened) }, one.name,
          el("span.quiet.small", {}, `${one.symbol ?? ""} ${one.made_at ? moment(one.made_at) : ""}`))))));
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
    fill(box, heatMap(await get("sweep", { name: one.name })));
  } catch (error) {
    fill(box, failure(error, () => openSweep(one, box)));
  }
}

/** `points`: the settings of each trial and its figures; `later_...`: of the part that judges the choice. */
function heatMap({ axes, points, parts }) {
  const scored = points?.find((one) => !one.refused)?.figures;
  if (!scored || !axes?.length) return empty("This sweep has no results.");
  const names = axes.map((one) => [one.option, wordsOf(one.option)]);
  const valuesOf = new Map(axes.map((one) => [one.option, one.values]));
  const figures = FIGURES.filter(([name]) => name in scored);
  const figure = select(figures.map(([name, words]) => [name, words]), figures[0]?.[0]);
  const hasLater = `later_${figures[0]?.[0]}` in scored;
  const part = select(hasLater ? [["", "the earlier part"], ["later_", "the later part"]] : [["", "all of it"]]);
  const across = select(names, names[0][0]), down = select(names, (names[1] ?? names[0])[0]);
  const map = el("div.scroll", { tabindex: "0", role: "region", "aria-label": "Heat map" });
  const draw = () => {
    const [, words, show] = figures.find(([name]) => name === figure.value);
    const isLess = LESS_IS_BETTER.includes(figure.value);
    const x = across.value, y = down.value, isOne = x === y;
    const cells = new Map();
    for (const { settings, figures: found } of points) {
      const key = JSON.stringify([settings[x], isOne ? null : settings[y]]);
      const value = found[`${part.value}${figure.value}`] ?? null;
      const known = cells.get(key) ?? null;
      const isBetter = known === null || (value !== null && (isLess ? Number(value) < Number(known) : Number(value) > Number(known)));
      if (isBetter) cells.set(key, value);
    }
    const sizes = [...cells.values()].filter((value) => value !== null).map(Number);
    const most = Math.max(...sizes.map(Math.abs), 1e-9), best = isLess ? Math.min(...sizes) : Math.max(...sizes);
    const rows = isOne ? [null] : valuesOf.get(y);
    fill(map, el("table.heat", {}, el("caption.unseen", {}, `${words} by ${wordsOf(x)} and ${wordsOf(y)}`),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, isOne ? "" : `${wordsOf(y)} down, ${wordsOf(x)} across`),
        valuesOf.get(x).map((value) => el("th.num", { scope: "col" }, typed(value))))),
      el("tbody", {}, rows.map((row) => el("tr", {}, el("th", { scope: "row" }, row === null ? "" : typed(row)),
        valuesOf.get(x).map((value) => heatCell(cells.get(JSON.stringify([value, row])), { show, most, best, isLess })))))));
  };
  for (const control of [figure, part, across, down]) control.addEventListener("change", draw);
  draw();
  return el("div", {},
    el("div.filters", {}, field("heat-figure", "Figure", figure), field("heat-part", "Of", part), field("heat-across", "Across", across), field("heat-down", "Down", down)),
    map, el("p.inside.quiet.small", {}, `${counted(points.length, "trial")}. `,
      axes.length > 2 ? "Of the settings that are not shown, each cell has the best. " : "", "The framed cell is the best; - was refused.",
      parts?.[0]?.from ? [" ", time(parts[0].from), " to ", time(parts.at(-1).to), "."] : null));
}

function heatCell(value, { show, most, best, isLess }) {
  if (value === null || value === undefined) return el("td.quiet", {}, "-");
  const cell = el("td", {}, show(value));
  const depth = Math.round((Math.abs(Number(value)) / most) * DEEP);
  const isBad = Number(value) < 0 || isLess;
  cell.style.background = `color-mix(in srgb, var(--${isBad ? "loss" : "gain"}) ${depth}%, transparent)`;
  if (Number(value) === best) {
    cell.classList.add("best");
    cell.title = "the best";
  }
  return cell;
}
