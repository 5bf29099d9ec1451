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

/** `trials`: `at` holds for each dimension the number of its value, `scores` one for each part. */
function heatMap(sweep) {
  const { dimensions, trials, parts } = sweep;
  if (!trials?.length || !dimensions?.length) return empty("This sweep has no results.");
  const names = dimensions.map((one, at) => [String(at), wordsOf(one.option)]);
  const scored = trials.find((one) => one.scores)?.scores?.[0] ?? {};
  const figures = FIGURES.filter(([name]) => name in scored);
  const figure = select(figures.map(([name, words]) => [name, words]), figures[0]?.[0]);
  const part = select((parts ?? [{}]).map((one, at) => [String(at), parts?.length > 1 ? (at === 0 ? "the earlier part" : "the later part") : "all of it"]), "0");
  const across = select(names, "0"), down = select(names, names.length > 1 ? "1" : "0");
  const map = el("div.scroll", { tabindex: "0", role: "region", "aria-label": "Heat map" });
  const draw = () => {
    const [, words, show] = figures.find(([name]) => name === figure.value);
    const isLess = LESS_IS_BETTER.includes(figure.value);
    const x = Number(across.value), y = Number(down.value), isOne = x === y;
    const cells = new Map();
    for (const trial of trials) {
      const key = `${trial.at[x]} ${isOne ? 0 : trial.at[y]}`;
      const value = trial.scores?.[Number(part.value)]?.[figure.value] ?? null;
      const known = cells.get(key);
      if (known === undefined || known === null || (value !== null && (isLess ? Number(value) < Number(known) : Number(value) > Number(known)))) cells.set(key, value);
    }
    const sizes = [...cells.values()].filter((value) => value !== null).map(Number);
    const most = Math.max(...sizes.map(Math.abs), 1e-9), best = isLess ? Math.min(...sizes) : Math.max(...sizes);
    const rows = isOne ? [""] : dimensions[y].values;
    fill(map, el("table.heat", {}, el("caption.unseen", {}, `${words} by ${names[x][1]} and ${names[y][1]}`),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, isOne ? "" : `${names[y][1]} down, ${names[x][1]} across`),
        dimensions[x].values.map((value) => el("th.num", { scope: "col" }, typed(value))))),
      el("tbody", {}, rows.map((value, row) => el("tr", {}, el("th", { scope: "row" }, typed(value)),
        dimensions[x].values.map((_, column) => heatCell(cells.get(`${column} ${row}`), { show, most, best, isLess })))))));
  };
  for (const control of [figure, part, across, down]) control.addEventListener("change", draw);
  draw();
  return el("div", {},
    el("div.filters", {}, field("heat-figure", "Figure", figure), field("heat-part", "Of", part), field("heat-across", "Across", across), field("heat-down", "Down", down)),
    map, el("p.inside.quiet.small", {}, `${counted(trials.length, "trial")}. `,
      dimensions.length > 2 ? "Of the settings that are not shown, each cell has the best. " : "", "A framed cell is the best; - was refused.",
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
