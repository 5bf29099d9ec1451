// One asset: its candles with what the bot does on them, its cycle, and what its user may change.

import { get } from "./api.js";
import { AssetChart } from "./asset_chart.js";
import { twoSteps } from "./dialogs.js";
import { el, empty, failure, fill, loading, say, table } from "./dom.js";
import { editAsset } from "./edit.js";
import { coins, percent, price, signedUsd, span, time, tone, usd } from "./format.js";
import { note, showState, stateDetail } from "./parts.js";

const PURPOSES = { base: "base order", safety: "safety order", take_profit: "take profit", stop_loss: "stop loss" };

export function show(root, place, session) {
  return new AssetPage(root, place.symbol ?? session.symbols?.[0] ?? "BTC/USD");
}

class AssetPage {
  constructor(root, symbol) {
    this.symbol = symbol;
    this.found = this.row = this.past = this.signature = null;
    this.chart = new AssetChart(symbol);
    this.build(root);
    this.tick = setInterval(() => this.showCountdown(), 1000);
    this.changed = (event) => { if (event.detail === symbol) this.load(); };
    document.addEventListener("assetchange", this.changed);
    this.load();
  }

  close() {
    this.isClosed = true;
    clearInterval(this.tick);
    document.removeEventListener("assetchange", this.changed);
    this.chart.close();
  }

  build(root) {
    this.price = el("span.price");
    this.mark = el("span.mark");
    this.why = el("div", { "aria-live": "polite" });
    this.actions = el("div.group");
    this.facts = el("div.inside", {}, loading());
    this.countdown = el("span");
    this.ladder = el("div", {}, loading());
    this.needs = el("span.quiet.small");
    this.journal = el("div", {}, loading());
    this.cycles = el("div", {}, loading());
    this.whichCycle = el("h2", {}, "Journal of the cycle");
    const card = (head, body, more = null) => el("section.card", {}, el("header", {}, head, more), body);
    root.append(
      el("div.head", {}, el("div.group", {}, el("h1", {}, this.symbol), this.mark, this.price), this.actions),
      this.why,
      el("div.columns.asset", {}, this.chart.node,
        el("div.columns", {}, card(el("h2", {}, "Now"), this.facts), card(el("h2", {}, "Orders to come"), this.ladder, this.needs))),
      el("div.two", {}, card(this.whichCycle, this.journal), card(el("h2", {}, "Past cycles"), this.cycles)));
  }

  // What the server knows

  async load() {
    if (this.isLoading) {
      this.isStale = true;
      return;
    }
    this.isLoading = true;
    try {
      const found = await get("asset", { symbol: this.symbol });
      if (this.isClosed) return;
      this.found = found;
      this.row ??= found.row;
      this.showAsset();
      if (this.past) return;
      const cycle = found.cycle ? await get("cycle", { id: found.cycle.id }).catch(() => null) : null;
      if (!this.past && !this.isClosed) this.chart.setCycle(cycle);
    } catch (error) {
      if (this.isClosed || this.found) return; // the last good figures stay
      fill(this.facts, failure(error, () => this.load()));
      for (const box of [this.journal, this.cycles, this.ladder]) fill(box, empty("-"));
    } finally {
      this.isLoading = false;
      if (this.isStale && !this.isClosed) {
        this.isStale = false;
        this.load();
      }
    }
  }

  update(status) {
    const row = status.assets?.find((one) => one.symbol === this.symbol);
    if (!row) return;
    this.row = row;
    const signature = JSON.stringify([row.cycle_id, row.cycles, row.state, row.coins, row.safety_orders, row.buys_at, row.sells_at,
      row.stops_at, row.enabled, row.open_order?.price, row.open_order?.filled_qty, row.trail_peak]);
    const isUnknown = !this.found?.plan && row.bid !== null && !row.problem; // the server had no price yet, or did not answer
    if (isUnknown || (this.signature !== null && signature !== this.signature)) this.load();
    this.signature = signature;
    this.showRow();
    this.chart.addPrice(status.as_of, row.bid);
  }

  showAsset() {
    const { plan, cycle } = this.found;
    this.showRow();
    this.showActions();
    this.chart.setLines(this.found.lines);
    say(this.needs, plan?.orders.length ? `needs ${usd(plan.capital_usd)} USD` : "");
    fill(this.ladder, plan?.orders.length ? ladderTable(plan) : empty(plan ? "No order is left to come." : "Not known yet: there is no price."));
    if (!this.past) fill(this.journal, cycle ? journalTable(cycle.journal) : empty("No cycle yet."));
    this.showCycles(this.found.cycles, this.found.has_more);
  }

  showActions() {
    const { asset } = this.found;
    const text = `${asset.is_enabled}`;
    if (this.actions.dataset.shown === text) return; // the focus stays where it is
    this.actions.dataset.shown = text;
    const button = (words, act, spec = "button") => el(spec, { type: "button", onclick: act }, words);
    const step = (path, title, isDangerous) => () => twoSteps(`assets/${path}`, this.symbol, title, isDangerous);
    fill(this.actions,
      button("Edit", () => editAsset(this.found.asset)),
      el("a.button", { href: `#/try/${encodeURI(this.symbol)}` }, "Try"),
      asset.is_enabled ? button("Disable", step("disable", "Disable")) : button("Enable", step("enable", "Enable")),
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
    if (this.why.textContent !== why && this.why.dataset.shown !== why) {
      this.why.dataset.shown = why;
      fill(this.why, why ? note(row.cure ? `${why}: ${row.cure}` : why, Boolean(row.problem)) : null);
    }
    this.why.hidden = !why;
    const figure = (value, words) => el("span", { class: tone(value) }, value === null ? "-" : `${words} USD`);
    const far = (at, percents) => (row[at] === null ? shown[at] : `${shown[at]} (${shown[percents]})`);
    const pairs = [
      stateDetail(row) ? ["State", row.state_words] : null,
      ["Bid", shown.bid], ["Ask", shown.ask],
      ["Quote", row.quote_age_seconds === null ? "none" : `${span(row.quote_age_seconds)} old`],
      ["Coins held", shown.coins], ["Average", shown.average_price],
      ["Unrealised", figure(row.unrealised_usd, shown.unrealised_usd)],
      ["Buys at", far("buys_at", "buys_at_percent")],
      [row.trail_peak ? "Sells at (trailing)" : "Sells at", far("sells_at", "sells_at_percent")],
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
    fill(this.countdown, left > 0 ? `${span(left)} left, until ` : "over since ", time(until));
  }

  // Past cycles

  showCycles(cycles, hasMore) {
    this.listed = cycles;
    if (!cycles.length) {
      fill(this.cycles, empty("No cycle has ended yet."));
      return;
    }
    const rows = cycles.map((one) => [
      el("button", { type: "button", onclick: () => this.showPast(one.id), "aria-label": `Show cycle ${one.id}` }, String(one.id)),
      time(one.ended_at), span((Date.parse(one.ended_at) - Date.parse(one.started_at)) / 1000), String(one.safety_orders ?? "-"),
      String(one.end ?? "-").replaceAll("_", " "), el("span", { class: tone(one.profit_usd) }, signedUsd(one.profit_usd, one.is_estimated))]);
    const more = el("button", { type: "button", onclick: () => this.loadMoreCycles(more) }, "Older cycles");
    const focused = this.cycles.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
    fill(this.cycles, table("Past cycles", ["Cycle", "ended", ["lasted", "num"], ["safety", "num"], "end", ["USD", "num"]], rows),
      hasMore ? el("div.inside", {}, more) : null);
    if (focused) this.cycles.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
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
      this.past = found;
      const back = el("button", { type: "button", onclick: () => this.showNow() }, "Back to now");
      fill(this.chart.head, el("div.inside.group", {}, el("b", {}, `Cycle ${found.id}`), el("span", {}, time(found.started_at), " to ", time(found.ended_at)),
        el("span", { class: tone(found.profit_usd) }, `${signedUsd(found.profit_usd, found.is_estimated)} USD`), back));
      say(this.whichCycle, `Journal of cycle ${found.id}`);
      fill(this.journal, journalTable(found.journal));
      back.focus();
      await this.chart.setCycle(found, true);
    } catch (error) {
      fill(this.chart.head, failure(error));
    }
  }

  async showNow() {
    this.past = null;
    fill(this.chart.head);
    say(this.whichCycle, "Journal of the cycle");
    await this.load();
  }
}

function ladderTable(plan) {
  return table("Orders still to come", ["Order", ["comes at", "num"], ["USD", "num"], ["then sells at", "num"]],
    plan.orders.map((one) => [one.number === 0 ? "base" : `safety ${one.number}`,
      el("span", {}, price(one.trigger_price), one.number === 0 ? null : el("span.sub", {}, percent(-Number(one.down_percent)))),
      usd(one.size_usd), price(one.after?.sale?.price)]));
}

function journalTable(entries) {
  if (!entries?.length) return empty("Nothing was bought yet.");
  return table("Journal of the cycle", ["When", "What", ["coins", "num"], ["price", "num"], ["USD", "num"]],
    entries.map((one) => {
      const more = one.note ?? (one.status && one.status !== "filled" ? one.status : null);
      return [time(one.ended_at ?? one.submitted_at),
        el("span", {}, `${one.side === "buy" ? "bought" : "sold"}: ${PURPOSES[one.purpose] ?? one.purpose ?? ""}`, more ? el("span.sub", {}, more) : null),
        coins(one.filled_qty), price(one.filled_avg_price), usd(one.filled_usd)];
    }));
}
