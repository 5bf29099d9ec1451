// Try: other settings on the stored history, beside those of today; "apply" goes through the preview.

import { get, send } from "./api.js";
import { candleChart, moneyChart, readCandles } from "./charts.js";
import { editAsset } from "./edit.js";
import { el, empty, failure, fill, loading, table } from "./dom.js";
import { day, percent, share, signedUsd, span, tone, usd } from "./format.js";
import { ladderLines } from "./lines.js";
import { GROUPS, typed } from "./options.js";
import { latest, note, pickButtons, select } from "./parts.js";
import { sweepList } from "./sweeps.js";

const BARS = 900;
const AGAIN_MS = 300;
const LENGTHS = [60, 300, 900, 3600, 14400, 86400];
const SPANS = [["30", "30 d"], ["90", "90 d"], ["365", "1 y"], ["0", "all"]];

export function show(root, place, session) {
  const symbols = session.symbols ?? [];
  const symbol = place.symbol ?? symbols[0] ?? "BTC/USD";
  const names = [...new Set([symbol, ...symbols])].map((one) => [one, one]);
  const pick = select(names, symbol);
  pick.setAttribute("aria-label", "Asset");
  pick.addEventListener("change", () => { location.hash = `#/try/${encodeURI(pick.value)}`; });
  const inside = el("div.columns", {}, loading());
  const sweeps = sweepList();
  root.append(el("div.head", {}, el("div.group", {}, el("h1", {}, `Try ${symbol}`), names.length > 1 ? pick : null)), inside, sweeps);
  const page = { isClosed: false, closers: [] };
  open(page, symbol, inside);
  return {
    close() {
      page.isClosed = true;
      page.closers.forEach((end) => end());
    },
  };
}

async function open(page, symbol, inside) {
  try {
    const known = await get("try", { symbol });
    if (page.isClosed) return;
    if (known.why_none || !known.range) {
      fill(inside, el("section.card", {}, empty(known.why_none ?? "There is no stored history of this asset.",
        el("br"), el("code", {}, `scripts/history fetch ${symbol}`))));
      return;
    }
    new Tryout(page, symbol, known, inside);
  } catch (error) {
    if (!page.isClosed) fill(inside, failure(error, () => open(page, symbol, inside)));
  }
}

class Tryout {
  constructor(page, symbol, known, inside) {
    this.page = page;
    this.symbol = symbol;
    this.known = known;
    this.today = Object.fromEntries(Object.entries(known.settings).map(([name, value]) => [name, typed(value)]));
    this.settings = { ...this.today };
    this.from = known.range.from;
    this.run = latest(() => this.ask());
    this.build(inside);
    this.draw();
  }

  build(inside) {
    const canvas = (spec = "div.chart") => {
      const box = el(spec), over = el("div.over", {}, loading());
      return { box, over, holder: el(spec, {}, box, over) };
    };
    this.prices = canvas("div.chart.tall");
    this.curves = canvas();
    this.told = el("div", { "aria-live": "polite" });
    this.took = el("span.small", { "aria-live": "polite" });
    this.figures = el("div", {}, loading());
    this.apply = el("button.main", { type: "button", disabled: true, onclick: () => this.applyIt() }, "Apply");
    const back = el("button", { type: "button", onclick: () => this.reset() }, "As today");
    this.sliders = el("div", {}, this.sliderParts());
    const spans = pickButtons("How much of the history", SPANS, "365", (days) => this.choose(Number(days)));
    this.choose(365, false);
    const { range } = this.known;
    fill(inside, el("div.columns.try", {},
      el("section.card", { "aria-label": "Settings" }, el("header", {}, el("h2", {}, "Settings"), el("div.group", {}, back, this.apply)), el("div.inside", {}, this.sliders)),
      el("div.columns", {},
        el("section.card.ladder", { "aria-label": "Ladder" }, el("header", {}, el("h2", {}, "Ladder and fills"), this.took), this.prices.holder),
        this.told,
        el("div.two", {},
          el("section.card", {}, el("header", {}, el("h2", {}, "What it would have earned"), spans), this.figures,
            el("p.inside.quiet.small", {}, `Replayed on what is stored: ${Number(range.bars).toLocaleString("en-US")} bars, ${day(range.from)} to ${day(range.to)}. Each side has the cash that its ladder needs. What was earned is no promise.`)),
          el("section.card", {}, el("header", {}, el("h2", {}, "Earned over time"), equityLegend()), this.curves.holder)))));
  }

  sliderParts() {
    return GROUPS.map(([title, options]) => {
      const shown = options.filter(([name]) => Object.hasOwn(this.settings, name));
      return shown.length ? el("fieldset", {}, el("legend", {}, title), el("div.sliders", {}, shown.map((one) => this.slider(one)))) : null;
    });
  }

  slider([option, , words, hint]) {
    const limit = this.known.limits?.[option];
    const id = `try-${option}`;
    const canBeOff = limit?.can_be_off ?? (typeof hint === "string" && hint.endsWith("off"));
    const box = el("div.slider", {}, el("label", { for: id, title: typeof hint === "string" ? hint : null }, words));
    const mark = () => {
      box.classList.toggle("changed", this.settings[option] !== this.today[option]);
      box.classList.toggle("is-off", this.settings[option] === "off");
    };
    const change = (value) => {
      this.settings[option] = value;
      mark();
      this.changed();
    };
    if (Array.isArray(hint)) {
      const control = select(hint.map((one) => [one, one]), this.settings[option]);
      control.id = id;
      control.addEventListener("change", () => change(control.value));
      box.append(control);
    } else {
      const exact = el("input", { type: "text", inputmode: "decimal", autocomplete: "off", value: this.settings[option], "aria-label": `${words}, ${hint}` });
      box.append(exact);
      exact.addEventListener("change", () => {
        const value = exact.value.trim() || (canBeOff ? "off" : this.today[option]);
        exact.value = value;
        if (range && value !== "off") range.value = value;
        change(value);
      });
      const range = limit ? el("input", { id, type: "range", min: limit.min, max: limit.max, step: limit.step }) : null;
      if (range) {
        range.value = this.settings[option] === "off" ? limit.min : this.settings[option];
        range.setAttribute("aria-valuetext", `${this.settings[option]} ${hint}`);
        range.addEventListener("input", () => {
          exact.value = range.value;
          range.setAttribute("aria-valuetext", `${range.value} ${hint}`);
          change(range.value);
        });
        box.append(range);
      } else {
        exact.id = id;
      }
    }
    mark();
    return box;
  }

  get changes() {
    const names = Object.keys(this.settings).filter((name) => this.settings[name] !== this.today[name]);
    return Object.fromEntries(names.map((name) => [name, this.settings[name]]));
  }

  changed() {
    this.apply.disabled = !Object.keys(this.changes).length;
    this.run();
  }

  reset() {
    this.settings = { ...this.today };
    fill(this.sliders, this.sliderParts());
    this.changed();
  }

  choose(days, asks = true) {
    const { from, to } = this.known.range;
    const begin = new Date(Date.parse(to) - days * 86400000).toISOString();
    this.from = days && begin > new Date(from).toISOString() ? begin : from;
    if (asks) {
      this.fits = true;
      this.run();
      this.loadPrices();
    }
  }

  async applyIt() {
    try {
      const { asset } = await get("asset", { symbol: this.symbol });
      editAsset(asset, this.changes);
    } catch (error) {
      if (error.status === 404) editAsset(null, this.settings, this.symbol);
      else fill(this.told, failure(error));
    }
  }

  // The replay

  async ask() {
    try {
      const began = performance.now();
      const answer = await send("try", { symbol: this.symbol, settings: this.settings, from: this.from, to: this.known.range.to });
      if (this.page.isClosed) return;
      this.showResult(answer, Math.round(answer.milliseconds ?? performance.now() - began));
      fill(this.told, (answer.refusals ?? []).map((words) => note(wordsOfRefusal(words), true)), (answer.warnings ?? []).map((words) => note(words)));
      if (answer.figures) fill(this.figures, comparison(answer));
      this.answer = answer;
      this.showOnCharts();
    } catch (error) {
      if (this.page.isClosed) return;
      if (error.status === 409) { // another window of this session tries, too
        setTimeout(() => this.run(), AGAIN_MS);
        return;
      }
      fill(this.told, error.status === 422 || error.status === 400 ? note(error.message, true) : failure(error, () => this.run()));
    }
  }

  showResult({ capital_usd: needs, figures, today }, milliseconds) {
    const result = (found) => el("b", { class: tone(found?.result_usd) }, signedUsd(found?.result_usd));
    fill(this.took, `needs ${usd(needs)} USD, earned `, result(figures),
      today?.figures ? [" (as today ", result(today.figures), ")"] : null, el("span.quiet", {}, ` in ${milliseconds} ms`));
  }

  showOnCharts() {
    const { answer } = this;
    if (!answer) return;
    this.candles?.setLines(ladderLines(answer.ladder));
    this.candles?.setMarkers((answer.markers ?? []).map((one) => ({ time: one.time, side: one.side, text: "" })));
    if (this.equity) {
      this.curves.over.hidden = true;
      this.equity.set([{ curve: answer.equity, colour: "accent", fits: this.fits !== false }, { curve: answer.today_equity, colour: "quiet" }]);
      this.fits = false;
    }
  }

  async draw() {
    this.run();
    try {
      [this.candles, this.equity] = await Promise.all([
        candleChart(this.prices.box, `Prices of ${this.symbol} with the ladder`), moneyChart(this.curves.box, "Earned: tried, and as today", { isSigned: true })]);
      this.page.closers.push(() => this.candles.close(), () => this.equity.close());
      if (this.page.isClosed) return this.page.closers.forEach((end) => end());
      await this.loadPrices();
      this.showOnCharts();
    } catch (error) {
      fill(this.prices.over, failure(error, () => this.draw()));
    }
  }

  async loadPrices() {
    const to = Date.parse(this.known.range.to) / 1000, from = Date.parse(this.from) / 1000;
    const length = LENGTHS.find((one) => (to - from) / one <= BARS) ?? 86400;
    try {
      const answer = await get("candles", { symbol: this.symbol, seconds: length, from: new Date(Math.max(from, to - BARS * length) * 1000).toISOString(), to: this.known.range.to });
      if (this.page.isClosed) return;
      this.prices.over.hidden = answer.candles.length > 0;
      if (!answer.candles.length) return fill(this.prices.over, empty("There are no prices of this time."));
      this.candles.setCandles(readCandles(answer.candles), length);
      this.candles.chart.timeScale().fitContent();
      this.showOnCharts();
    } catch (error) {
      if (!this.page.isClosed) fill(this.prices.over, failure(error, () => this.loadPrices()));
    }
  }
}

function wordsOfRefusal(one) {
  return typeof one === "string" ? one : `${one.symbol ?? ""} ${one.reason ?? ""}`.trim();
}

function equityLegend() {
  const key = (words, name) => {
    const made = el("span.key", {}, words);
    made.style.setProperty("--key", `var(--${name})`);
    return made;
  };
  return el("div.legend", {}, key("tried", "accent"), key("as today", "quiet"));
}

const ROWS = [
  ["Result after fees", (one) => one.result_usd, signedUsd, true],
  ["of it complete cycles", (one) => one.realised_usd, signedUsd, true],
  ["of it still held", (one) => one.unrealised_usd, signedUsd, true],
  ["of what the ladder needs", (one) => one.return_on_ladder_percent, percent, true],
  ["Worst drawdown", (one) => (one.drawdown ? `-${one.drawdown.percent}` : null), percent, true],
  ["Fees", (one) => one.fees_usd, usd],
  ["Cycles complete", (one) => one.cycles, (value) => String(value)],
  ["won", (one) => one.won_percent, share],
  ["ended by stop loss", (one) => one.stopped, (value) => String(value)],
  ["Mean cycle", (one) => one.mean_cycle_seconds, span],
  ["Longest cycle", (one) => one.longest_cycle_seconds, span],
  ["Time fully bought", (one) => one.fully_bought_percent, share],
];

function comparison(answer) {
  const { figures, today } = answer;
  const cell = (found, show, isToned) => {
    if (found === null || found === undefined) return "-";
    return el("span", { class: isToned ? tone(found) : "" }, show(found));
  };
  const rows = ROWS.filter(([, read]) => read(figures) !== undefined).map(([name, read, show, isToned]) =>
    [/^[a-z]/.test(name) ? el("td.within", {}, name) : name, cell(read(figures), show, isToned), today?.figures ? cell(read(today.figures), show, isToned) : "-"]);
  rows.unshift(["Capital it needs", el("b", {}, usd(answer.capital_usd)), usd(today?.capital_usd)]);
  return table("What it would have earned", ["USD and percent", ["tried", "num"], ["as today", "num"]], rows);
}

