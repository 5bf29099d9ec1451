// The chart of an asset: candles from the store and the exchange, older ones as they are looked for,
// the fills and the average of one cycle, and the prices at which the bot acts.

import { get } from "./api.js";
import { candleChart, readCandles, seconds } from "./charts.js";
import { el, empty, failure, fill, loading } from "./dom.js";
import { price } from "./format.js";
import { legend, linesOf } from "./lines.js";
import { pickButtons } from "./parts.js";

const SPANS = [["60", "1 min"], ["300", "5 min"], ["900", "15 min"], ["3600", "1 h"], ["14400", "4 h"], ["86400", "1 d"]];
const BARS = 500;
const TOO_FEW = 20;
const NEAR = 20; // candles from the left edge: more are fetched
const CYCLE_BARS = 200;

export class AssetChart {
  constructor(symbol) {
    this.symbol = symbol;
    this.seconds = 300;
    this.isFirst = true;
    this.span = null; // [from, to] of a past cycle; null: until now
    this.cycle = null;
    this.isClosed = false;
    this.canvas = el("div.chart.tall");
    this.over = el("div.over", {}, loading());
    this.head = el("div");
    this.said = el("ul.unseen", { "aria-label": "Lines and fills on the chart" });
    const whole = el("input", { type: "checkbox", checked: true, onchange: () => this.drawn?.setWholeLadder(whole.checked) });
    this.spans = el("div", {}, this.spanButtons());
    this.node = el("section.card", { "aria-label": "Prices" },
      el("header", {}, el("div.group", {}, this.spans, el("label.check", {}, whole, "whole ladder")), legend()),
      this.head, el("div.chart.tall", {}, this.canvas, this.over), this.said);
    this.draw();
  }

  close() {
    this.isClosed = true;
    this.drawn?.close();
  }

  spanButtons() {
    return pickButtons("Length of a candle", SPANS, String(this.seconds), (name) => {
      this.seconds = Number(name);
      this.load();
    });
  }

  async draw() {
    try {
      this.drawn = await candleChart(this.canvas, `Prices of ${this.symbol}`);
      if (this.isClosed) return this.drawn.close();
      this.drawn.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
        if (range && range.from < NEAR) this.loadOlder();
      });
      this.showAll();
      await this.load();
    } catch (error) {
      fill(this.over, failure(error, () => this.draw()));
    }
  }

  /** The prices at which the bot acts now: those that moved are moved. */
  setLines(lines) {
    this.lines = lines;
    this.showAll();
  }

  /** A cycle's fills and average; `isPast`: the chart goes to where it was. */
  async setCycle(cycle, isPast = false) {
    this.cycle = cycle;
    const wasPast = this.span !== null;
    this.span = null;
    if (isPast) {
      const begin = Date.parse(cycle.started_at) / 1000, end = Date.parse(cycle.ended_at ?? new Date()) / 1000;
      const lasted = Math.max(end - begin, 1200);
      this.seconds = Number((SPANS.find(([name]) => lasted / Number(name) < CYCLE_BARS) ?? SPANS.at(-1))[0]);
      this.span = [begin - lasted / 3, Math.min(end + lasted / 3, Date.now() / 1000)];
      fill(this.spans, this.spanButtons());
    }
    this.showAll();
    if (isPast || wasPast) await this.load();
  }

  addPrice(at, bid) {
    if (!this.span && bid !== null) this.drawn?.addPrice(seconds(at), Number(bid));
  }

  showAll() {
    if (!this.drawn) return;
    this.drawn.setLines(this.span || !this.lines ? [] : linesOf(this.lines));
    const { markers = [], averages = [] } = this.cycle ?? {};
    this.drawn.setMarkers(markers.map((one) => ({ time: one.time, side: one.side, text: one.words.split(":")[0] })));
    this.describe(markers);
    this.drawn.setAverage(averages, this.span ? null : this.drawn.candles.at(-1)?.time);
  }

  /** What the lines and marks say, for who cannot see them. */
  describe(markers) {
    const lines = this.span || !this.lines ? [] : linesOf(this.lines);
    const words = [...lines.map((one) => `${one.title} at ${price(one.price)}`), ...markers.map((one) => one.words)];
    if (this.said.childElementCount === words.length && words.every((one, at) => this.said.children[at].textContent === one)) return;
    fill(this.said, words.map((one) => el("li", {}, one)));
  }

  async fetch(from, to) {
    const wanted = this.seconds;
    const answer = await get("candles", { symbol: this.symbol, seconds: wanted, from: iso(from), to: iso(to) });
    return this.isClosed || wanted !== this.seconds ? null : { older: answer.older, candles: readCandles(answer.candles) };
  }

  async load() {
    if (!this.drawn) return;
    this.over.hidden = false;
    fill(this.over, loading());
    const [from, to] = this.span ?? [Date.now() / 1000 - BARS * this.seconds, Date.now() / 1000];
    try {
      const found = await this.fetch(from, to);
      if (!found) return;
      this.older = found.older;
      if (!found.candles.length) {
        fill(this.over, empty("There are no prices of this time."));
        return;
      }
      if (found.candles.length < TOO_FEW && this.isFirst) { // a new bot: its minutes say more
        this.isFirst = false;
        this.seconds = 60;
        fill(this.spans, this.spanButtons());
        return await this.load();
      }
      this.isFirst = false;
      this.over.hidden = true;
      this.drawn.setCandles(found.candles, this.seconds);
      this.showAll();
    } catch (error) {
      if (!this.isClosed) fill(this.over, failure(error, () => this.load()));
    }
  }

  async loadOlder() {
    const first = this.drawn?.candles[0]?.time;
    if (!first || !this.older || this.isLoadingOlder) return;
    this.isLoadingOlder = true;
    try {
      const found = await this.fetch(first - BARS * this.seconds, first);
      if (!found) return;
      const candles = found.candles.filter((one) => one.time < first);
      this.older = found.older && candles.length > 0;
      if (candles.length) {
        this.drawn.setCandles([...candles, ...this.drawn.candles], this.seconds, { keeps: true });
        this.showAll();
      }
    } catch {
      this.older = false; // what is shown stays
    } finally {
      this.isLoadingOlder = false;
    }
  }
}

function iso(at) {
  return `${new Date(Math.floor(at) * 1000).toISOString().slice(0, 19)}Z`;
}
