// One asset: its candles with what the bot does on them, its cycle, and what its user may change.

import { get } from "./api.js";
import { candleChart, readCandles, seconds } from "./charts.js";
import { twoSteps } from "./dialogs.js";
import { el, empty, failure, fill, loading, say, table } from "./dom.js";
import { editAsset, planTable } from "./edit.js";
import { coins, percent, price, signedUsd, span, time, tone, usd } from "./format.js";
import { linesOf, legend } from "./lines.js";
import { pickButtons, showState, stateDetail } from "./parts.js";

const SPANS = [["60", "1 min"], ["300", "5 min"], ["900", "15 min"], ["3600", "1 h"], ["14400", "4 h"], ["86400", "1 d"]];
const BARS = 500;

export function show(root, place, session) {
  const symbol = place.symbol ?? session.symbols?.[0] ?? "BTC/USD";
  return new AssetPage(root, symbol);
}

class AssetPage {
  constructor(root, symbol) {
    this.symbol = symbol;
    this.seconds = 300;
    this.found = null;
    this.row = null;
    this.past = null;
    this.isClosed = false;
    this.signature = null;
    this.build(root);
    this.tick = setInterval(() => this.showCountdown(), 1000);
    this.changed = (event) => { if (event.detail === symbol) this.load(); };
    document.addEventListener("assetchange", this.changed);
    this.load();
    this.draw();
  }

  close() {
    this.isClosed = true;
    clearInterval(this.tick);
    document.removeEventListener("assetchange", this.changed);
    this.chart?.close();
  }

  build(root) {
    this.price = el("span.price.num");
    this.mark = el("span.mark");
    this.why = el("p", { "aria-live": "polite" });
    this.actions = el("div.group");
    this.over = el("div.over", {}, loading());
    this.canvas = el("div.chart.tall");
    this.lookingAt = el("div", {});
    this.countdown = el("span");
    this.facts = el("div.inside", {}, loading());
    this.ladder = el("div", {});
    this.journal = el("div", {}, loading());
    this.cycles = el("div", {}, loading());
    const whole = el("input", { type: "checkbox", checked: true, onchange: () => this.chart?.setWholeLadder(whole.checked) });
    const spans = pickButtons("Length of a candle", SPANS, String(this.seconds), (name) => {
      this.seconds = Number(name);
      this.loadCandles();
    });
    root.append(
      el("div.head", {}, el("div.group", {}, el("h1", {}, this.symbol), this.mark, this.price), this.actions),
      this.why,
      el("div.columns.asset", {},
        el("section.card", { "aria-label": "Prices" },
          el("header", {}, spans, el("label.check", {}, whole, "whole ladder"), legend()),
          this.lookingAt, el("div.chart.tall", {}, this.canvas, this.over)),
        el("div.columns", {},
          el("section.card", {}, el("header", {}, el("h2", {}, "Now")), this.facts),
          el("section.card", {}, this.ladder))),
      el("div.two", {},
        el("section.card", {}, el("header", {}, el("h2", {}, "Journal of the cycle")), this.journal),
        el("section.card", {}, el("header", {}, el("h2", {}, "Past cycles")), this.cycles)));
  }

  // What the server knows

  async load() {
    try {
      const found = await get("asset", { symbol: this.symbol });
      if (this.isClosed) return;
      this.found = found;
      this.row ??= found.row;
      this.showAsset();
      if (!this.past) await this.showCycleOnChart(found.cycle?.id ?? null);
    } catch (error) {
      if (this.isClosed) return;
      fill(this.facts, failure(error, () => this.load()));
      for (const box of [this.journal, this.cycles]) fill(box, empty("-"));
    }
  }

  update(status) {
    const row = status.assets?.find((one) => one.symbol === this.symbol);
    if (!row) return;
    this.row = row;
    const signature = JSON.stringify([row.state, row.average_price, row.coins, row.safety_orders, row.buys_at, row.sells_at,
      row.enabled, row.open_order, row.trail_peak, row.cooldown_until]);
    if (this.signature !== null && signature !== this.signature) this.load();
    this.signature = signature;
    this.showRow();
    if (!this.past && row.bid !== null) this.chart?.addPrice(seconds(status.as_of), Number(row.bid));
  }

  showAsset() {
    const { asset, plan, cycle } = this.found;
    this.showRow();
    this.showActions();
    this.showLines();
    const rows = plan?.orders?.length ? planTable("Orders still to come", plan) : empty("No order is left to come.");
    fill(this.ladder, el("header", {}, el("h2", {}, "Ladder"), el("span.quiet.small", {}, plan ? `needs ${usd(plan.capital_usd)} USD` : "")),
      ladderTable(plan, this.found.lines) ?? rows);
    fill(this.journal, cycle ? journalTable(cycle.journal) : empty("No cycle yet."));
    this.showCycles(this.found.cycles, this.found.has_more);
    say(document.querySelector("main h1"), asset.asset_symbol);
  }

  showActions() {
    const { asset } = this.found;
    const isOn = asset.is_enabled;
    const button = (words, act, spec = "button") => el(spec, { type: "button", onclick: act }, words);
    const step = (path, title, isDangerous) => async () => {
      await twoSteps(`assets/${path}`, this.symbol, title, isDangerous);
    };
    fill(this.actions,
      button("Edit", () => editAsset(this.found.asset)),
      el("a.button", { href: `#/try/${encodeURI(this.symbol)}` }, "Try"),
      isOn ? button("Disable", step("disable", "Disable")) : button("Enable", step("enable", "Enable")),
      button("Open now", step("open", "Open now")),
      button("Close now", step("close", "Close now", true), "button.danger"));
  }

  // What moves

  showRow() {
    const row = this.row;
    if (!row) return;
    const { shown } = row;
    showState(this.mark, row);
    say(this.price, row.bid === null ? "no quote" : shown.bid);
    const why = row.problem ?? row.held_back ?? row.waiting ?? "";
    this.why.className = row.problem ? "note refused" : why ? "note" : "";
    this.why.hidden = !why;
    say(this.why, why);
    const figure = (value, words) => el("span", { class: tone(value) }, `${words} USD`);
    const pairs = [
      stateDetail(row) ? ["State", row.state_words] : null,
      ["Bid", shown.bid], ["Ask", shown.ask],
      ["Quote", row.quote_age_seconds === null ? "none" : `${span(row.quote_age_seconds)} old`],
      ["Coins held", shown.coins], ["Average", shown.average_price],
      ["Unrealised", figure(row.unrealised_usd, shown.unrealised_usd)],
      ["Buys at", row.buys_at === null ? shown.buys_at : `${shown.buys_at} (${shown.buys_at_percent})`],
      [row.trail_peak ? "Sells at (trailing)" : "Sells at", row.sells_at === null ? "-" : `${shown.sells_at} (${shown.sells_at_percent})`],
      row.trail_peak ? ["Peak", shown.trail_peak] : null,
      row.stops_at ? ["Stop loss", shown.stops_at] : null,
      ["Safety orders", row.safety_orders], ["Open order", row.open_order?.words ?? "-"],
      row.cooldown_until ? ["Cooldown", this.countdown] : null,
      ["Profit today", figure(row.profit_today_usd, shown.profit_today_usd)],
      ["All time", figure(row.profit_usd, shown.profit_usd)],
    ];
    fill(this.facts, el("dl.facts", {}, pairs.filter(Boolean).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])));
    this.showCountdown();
  }

  showCountdown() {
    const until = this.row?.cooldown_until;
    if (!until) return;
    const left = (Date.parse(until) - Date.now()) / 1000;
    fill(this.countdown, left > 0 ? `${span(left)} left, until ` : "is over since ", time(until));
  }

  // The chart

  async draw() {
    try {
      this.chart = await candleChart(this.canvas, `Prices of ${this.symbol}`);
      if (this.isClosed) return this.chart.close();
      this.chart.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
        if (range && range.from < 20) this.loadOlder();
      });
      this.showLines();
      await this.loadCandles();
    } catch (error) {
      fill(this.over, failure(error, () => this.draw()));
    }
  }

  async loadCandles(from = null, to = null) {
    const wanted = this.seconds;
    this.over.hidden = false;
    fill(this.over, loading());
    const until = to ?? Math.floor(Date.now() / 1000);
    try {
      const answer = await get("candles", {
        symbol: this.symbol, seconds: wanted, from: iso(from ?? until - BARS * wanted), to: iso(until),
      });
      if (this.isClosed || wanted !== this.seconds) return;
      const candles = readCandles(answer.candles);
      this.older = answer.older;
      if (!candles.length) {
        fill(this.over, empty("There are no prices of this time."));
        return;
      }
      this.over.hidden = true;
      this.chart.setCandles(candles, wanted);
      this.showMarkers();
    } catch (error) {
      if (!this.isClosed) fill(this.over, failure(error, () => this.loadCandles(from, to)));
    }
  }

  async loadOlder() {
    const first = this.chart?.candles[0]?.time;
    if (!first || !this.older || this.isLoadingOlder) return;
    this.isLoadingOlder = true;
    const wanted = this.seconds;
    try {
      const answer = await get("candles", {
        symbol: this.symbol, seconds: wanted, from: iso(first - BARS * wanted), to: iso(first),
      });
      if (this.isClosed || wanted !== this.seconds) return;
      const candles = readCandles(answer.candles).filter((one) => one.time < first);
      this.older = answer.older && candles.length > 0;
      if (candles.length) {
        this.chart.setCandles([...candles, ...this.chart.candles], wanted, { keeps: true });
        this.showMarkers();
      }
    } catch {
      this.older = false; // what is shown stays
    } finally {
      this.isLoadingOlder = false;
    }
  }

  showLines() {
    if (this.found) this.chart?.setLines(this.past ? [] : linesOf(this.found.lines));
  }

  async showCycleOnChart(id) {
    this.shown = id === null ? null : await get("cycle", { id }).catch(() => null);
    if (!this.isClosed) this.showMarkers();
  }

  showMarkers() {
    if (!this.chart) return;
    const found = this.shown;
    this.chart.setMarkers((found?.markers ?? []).map((one) => ({ time: one.time, side: one.side, text: one.words ?? one.side })));
    this.chart.setAverage(found?.averages ?? [], this.past ? null : this.chart.candles.at(-1)?.time);
  }

  // Past cycles

  showCycles(cycles, hasMore) {
    this.listed = cycles;
    if (!cycles.length) {
      fill(this.cycles, empty("No cycle has ended yet."));
      return;
    }
    const rows = cycles.map((one) => {
      const open = el("button", { type: "button", onclick: () => this.showPast(one.id) }, String(one.id));
      return [open, time(one.ended_at), span((Date.parse(one.ended_at) - Date.parse(one.started_at)) / 1000), String(one.safety_orders ?? "-"),
        one.end ?? "-", el("span", { class: tone(one.profit_usd) }, signedUsd(one.profit_usd, one.is_estimated))];
    });
    const more = el("button", { type: "button", onclick: () => this.loadMoreCycles(more) }, "Older cycles");
    fill(this.cycles, table("Past cycles", ["Cycle", "ended", ["lasted", "num"], ["safety", "num"], "end", ["USD", "num"]], rows),
      hasMore ? el("div.inside", {}, more) : null);
  }

  async loadMoreCycles(button) {
    button.disabled = true;
    try {
      const found = await get("asset", { symbol: this.symbol, before: this.listed.at(-1).id });
      this.showCycles([...this.listed, ...found.cycles], found.has_more);
    } catch (error) {
      button.replaceWith(failure(error));
    }
  }

  async showPast(id) {
    try {
      const found = await get("cycle", { id });
      this.past = this.shown = found;
      const end = Date.parse(found.ended_at ?? Date.now()) / 1000, begin = Date.parse(found.started_at) / 1000;
      const lasted = Math.max(end - begin, 600);
      this.seconds = Number((SPANS.find(([name]) => lasted / Number(name) < 200) ?? SPANS.at(-1))[0]);
      fill(this.lookingAt, el("div.inside.group", {}, el("b", {}, `Cycle ${found.id}`),
        time(found.started_at), "to", time(found.ended_at),
        el("span", { class: tone(found.profit_usd) }, `${signedUsd(found.profit_usd, found.is_estimated)} USD`),
        el("button", { type: "button", onclick: () => this.showNow() }, "Back to now")));
      this.showLines();
      fill(this.journal, journalTable(found.journal));
      this.lookingAt.querySelector("button").focus();
      await this.loadCandles(Math.floor(begin - lasted * 0.25), Math.ceil(Math.min(end + lasted * 0.25, Date.now() / 1000)));
    } catch (error) {
      fill(this.lookingAt, failure(error));
    }
  }

  async showNow() {
    this.past = null;
    fill(this.lookingAt);
    this.showLines();
    await this.load();
    await this.loadCandles();
  }
}

function iso(at) {
  return new Date(at * 1000).toISOString().replace(".000Z", "Z");
}

function ladderTable(plan) {
  if (!plan?.orders?.length) return null;
  return table("Orders still to come", ["Order", ["comes at", "num"], ["down", "num"], ["USD", "num"], ["then sells at", "num"]],
    plan.orders.map((one) => [one.number === 0 ? "base" : `safety ${one.number}`, price(one.trigger_price),
      percent(-Number(one.down_percent)), usd(one.size_usd), price(one.after?.sale?.price)]));
}

const PURPOSES = { base: "base order", safety: "safety order", take_profit: "take profit", stop_loss: "stop loss" };

export function journalTable(entries) {
  if (!entries?.length) return empty("Nothing was bought yet.");
  return table("Journal of the cycle", ["When", "What", ["coins", "num"], ["price", "num"], ["USD", "num"], "note"],
    entries.map((one) => {
      const isBuy = one.side === "buy";
      return [time(one.ended_at ?? one.at ?? one.submitted_at),
        `${isBuy ? "bought" : "sold"}: ${PURPOSES[one.purpose] ?? one.purpose ?? ""}`, coins(one.filled_qty ?? one.qty),
        price(one.filled_avg_price ?? one.price), usd(one.filled_usd ?? one.usd), one.note ?? (one.final_status && one.final_status !== "filled" ? one.final_status : "")];
    }));
}

