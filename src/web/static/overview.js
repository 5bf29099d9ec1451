// The overview: the state in words and colour, what was earned, and every asset.

import { get } from "./api.js";
import { moneyChart } from "./charts.js";
import { editAsset } from "./edit.js";
import { el, empty, failure, fill, icon, keyed, loading, say, toggle } from "./dom.js";
import { span, time, tone } from "./format.js";
import { OLD_SECONDS, pickButtons, showState, stateDetail } from "./parts.js";

const COLUMNS = [
  ["Asset"], ["State"], ["Bid", "num"], ["Coins", "num"], ["Buys at", "num"], ["Sells at", "num"],
  ["Unrealised", "num"], ["Profit today", "num"], ["Open order", "num"],
];

export function show(root, place, session) {
  const state = stateBox();
  const tiles = tileBox();
  const rows = el("tbody");
  const isKnown = el("div", {}, loading());
  const list = el("div.scroll", { tabindex: "0", role: "region", "aria-label": "Assets" },
    el("table.cards", {}, el("caption.unseen", {}, "Assets"),
      el("thead", {}, el("tr", {}, COLUMNS.map(([title, kind]) => el(kind ? `th.${kind}` : "th", { scope: "col" }, title)))),
      rows));
  list.hidden = true;
  const add = el("button", { type: "button", onclick: () => editAsset(null) }, "Add an asset");
  const curves = curveBox();
  const doctor = doctorBox();
  root.append(
    el("h1.unseen", {}, "Overview"), state.node, tiles.node,
    el("div.columns.overview", {},
      el("div.columns", {},
        el("section.card", { "aria-label": "Assets" }, el("header", {}, el("h2", {}, "Assets"), add), isKnown, list),
        doctor.node),
      el("div.two", {}, curves.nodes)));
  return {
    update(status) {
      state.update(status);
      tiles.update(status);
      const isLost = !status.assets?.length && status.status?.database_problem;
      if (isLost && rows.childElementCount) return; // the last good ones stay, clearly old
      const assets = isLost ? null : status.assets;
      list.hidden = !assets?.length;
      isKnown.hidden = Boolean(assets?.length);
      if (!assets) fill(isKnown, empty("The assets are not known: the database cannot be read."));
      else if (!assets.length) fill(isKnown, empty("No asset yet. Add one, and the bot trades it within seconds."));
      else keyed(rows, assets, (row) => row.symbol, makeRow, changeRow);
    },
    record: curves.soon,
    close: curves.close,
  };
}

// The state

function stateBox() {
  let sign = el("span");
  const words = el("p");
  const list = el("ul");
  const node = el("section.card.state", { "aria-live": "polite", "aria-label": "State of the bot" },
    sign, el("div", {}, el("h2", {}, words), list));
  let last = null;
  say(words, "Asking the bot");
  return {
    node,
    update(status) {
      const isStopped = status.is_well && status.status?.daemon?.is_stopped_on_purpose;
      const kind = !status.is_well ? "wrong" : isStopped || status.status?.daemon?.is_paused ? "stopped" : "well";
      const text = JSON.stringify([kind, status.headline, status.problems]);
      if (text === last) return; // or it would be read aloud every two seconds
      last = text;
      node.className = `card state ${kind}`;
      const drawn = icon({ well: "ok", wrong: "warning", stopped: "pause" }[kind]);
      sign.replaceWith(drawn);
      sign = drawn;
      say(words, status.headline);
      fill(list, status.problems.map((one) => el("li", {}, one.words, one.cure ? el("span.sub", {}, one.cure) : null)));
    },
  };
}

function doctorBox() {
  const inside = el("div.inside", {});
  const box = el("details.card", {}, el("summary.inside", {}, "Check everything, as scripts/doctor does"), inside);
  const ask = async () => {
    fill(inside, loading("Checking"));
    try {
      const { findings } = await get("doctor");
      fill(inside, el("ul.findings", {}, findings.map((one) => {
        const level = { warn: "warning", fail: "error" }[one.level] ?? one.level;
        return el("li", {}, icon(level, "icon"), el("span", {}, el("b", {}, one.subject), " ", one.words ?? one.text,
          level === "ok" ? el("span.unseen", {}, " (ok)") : el(`span.mark.${level}`, {}, level),
          one.cure ? el("span.sub", {}, one.cure) : null));
      })), el("button", { type: "button", onclick: ask }, "Check again"));
    } catch (error) {
      fill(inside, failure(error, ask));
    }
  };
  box.addEventListener("toggle", () => { if (box.open && !inside.childElementCount) ask(); });
  return { node: box };
}

// Figures

function tileBox() {
  const tile = (name, spec = "tile") => {
    const value = el("dd", {}, "-");
    const more = el("dd.sub");
    return { node: el(`div.${spec}`, {}, el("dt", {}, name), value, more), value, more };
  };
  const made = {
    today: tile("Profit today"), month: tile("This month"), all: tile("All time"),
    unrealised: tile("Unrealised"), capital: tile("Capital used", "tile.wide"),
  };
  made.today.node.title = "Realised, after fees; days in UTC";
  const meter = el("meter", { min: 0, max: 1, "aria-label": "Capital used of what is allowed" });
  made.capital.node.append(el("dd", {}, meter));
  const node = el("dl.tiles", {}, Object.values(made).map((one) => one.node));
  const signed = (one, value, shown, words) => {
    say(one.value, shown);
    one.value.className = tone(value);
    say(one.more, words);
  };
  return {
    node,
    update({ today, capital }) {
      if (!today.shown || !capital.shown) return; // the last good ones stay, clearly old
      signed(made.today, today.profit_usd, today.shown.profit_usd, "USD after fees");
      signed(made.month, today.month_usd, today.shown.month_usd, "USD after fees");
      signed(made.all, today.all_usd, today.shown.all_usd, "USD after fees");
      signed(made.unrealised, today.unrealised_usd, today.shown.unrealised_usd, "USD if all were sold now");
      say(made.capital.value, capital.shown.used_usd);
      const allowed = capital.allowed_usd;
      meter.hidden = allowed === null || Number(allowed) === 0;
      say(made.capital.more, meter.hidden ? "USD" : `USD of ${capital.shown.allowed_usd} allowed`);
      if (!meter.hidden) {
        meter.max = Number(allowed);
        meter.high = 0.9 * Number(allowed);
        meter.value = Number(capital.used_usd ?? 0);
        meter.textContent = `${capital.shown.used_usd} of ${capital.shown.allowed_usd} USD`;
      }
    },
  };
}

// Assets

function makeRow() {
  const cell = (label, kind) => el(kind ? `td.${kind}` : "td", { "data-label": label }, el("span"), el("span.sub"));
  const row = el("tr.link", {
    onclick: (event) => { if (!event.target.closest("a")) row.querySelector("a").click(); },
  },
  el("th.title", { scope: "row" }, el("a"), el("span.sub")),
  el("td", { "data-label": "State" }, el("span.mark"), el("span.sub")),
  COLUMNS.slice(2).map(([title, kind]) => cell(title, kind)));
  return row;
}

function put(cell, text, more = "", kind = "", moreKind = "") {
  const [first, second] = cell.children;
  if (text !== null) {
    toggle(cell, "none", text === "-" && !more); // a narrow window leaves it out
    say(first, text);
    first.className = kind;
  }
  say(second, more);
  second.className = `sub ${moreKind}`;
}

function changeRow(row, one) {
  const [asset, state, bid, held, buys, sells, open, earned, order] = row.children;
  const link = asset.firstElementChild, { shown } = one;
  say(link, one.symbol);
  link.href = `#/asset/${encodeURI(one.symbol)}`;
  say(asset.lastElementChild, one.enabled ? "" : "disabled");
  toggle(row, "off", !one.enabled);
  showState(state.firstElementChild, one);
  const why = one.problem ?? one.held_back ?? one.waiting;
  put(state, null, why ?? stateDetail(one), "", one.problem ? "loss" : why ? "warning" : "");
  if (one.cooldown_until && !why) fill(state.lastElementChild, "until ", time(one.cooldown_until));
  const age = one.quote_age_seconds;
  put(bid, shown.bid, age === null ? "no quote" : age > OLD_SECONDS ? `${span(age)} old` : "", "", "warning");
  put(held, shown.coins, one.average_price ? `at ${shown.average_price}` : "");
  put(buys, shown.buys_at, one.buys_at === null ? "" : shown.buys_at_percent, "", one.buys_now ? "warning" : "");
  put(sells, shown.sells_at, sellDetail(one), "", one.trail_peak || one.sells_now ? "gain" : "");
  put(open, shown.unrealised_usd, "", tone(one.unrealised_usd));
  put(earned, shown.profit_today_usd, `all ${shown.profit_usd}`, tone(one.profit_today_usd));
  put(order, one.open_order?.words ?? "-", "");
}

function sellDetail(one) {
  if (one.trail_peak) return `peak ${one.shown.trail_peak}`;
  return one.sells_at === null ? "" : one.shown.sells_at_percent;
}

// Curves

function curveBox() {
  const closers = [];
  let timer = null, days = 30, isClosed = false;
  const box = (title, words) => {
    const chart = el("div.chart");
    const over = el("div.over", {}, loading());
    const holder = el("div.chart", {}, chart, over);
    const more = el("span.quiet.small", {}, words);
    return { node: el("section.card", { "aria-label": title }, el("header", {}, el("div", {}, el("h2", {}, title), more)), holder), chart, over, made: null };
  };
  const profit = box("Realised profit", "USD, cumulated, after fees");
  const equity = box("Equity", "USD, as the exchange says");
  profit.node.firstElementChild.append(pickButtons("Span of the charts", [["7", "7 d"], ["30", "30 d"], ["365", "1 y"]], "30", (name) => {
    days = Number(name);
    ask();
  }));
  const draw = async (one, curve, isSigned, why) => {
    if (!curve?.length) {
      one.over.hidden = false;
      fill(one.over, empty(why));
      return;
    }
    if (!one.made) {
      one.made = await moneyChart(one.chart, one.node.getAttribute("aria-label"), { isSigned, isStepped: isSigned });
      closers.push(one.made.close);
      if (isClosed) return one.made.close();
    }
    one.over.hidden = true;
    one.made.set([{ curve, colour: "accent", fits: true }]);
  };
  const ask = async () => {
    try {
      const found = await get("equity", { days });
      if (isClosed) return;
      await draw(profit, found.profit, true, "No cycle is complete yet in this span.");
      await draw(equity, found.equity, false, found.why_no_equity ?? "The exchange has no history yet.");
    } catch (error) {
      for (const one of [profit, equity]) {
        one.over.hidden = false;
        fill(one.over, failure(error, ask));
      }
    }
  };
  ask();
  return {
    nodes: [profit.node, equity.node],
    soon() {
      clearTimeout(timer);
      timer = setTimeout(ask, 3000);
    },
    close() {
      isClosed = true;
      clearTimeout(timer);
      closers.forEach((end) => end());
    },
  };
}
