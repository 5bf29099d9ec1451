// The report: what scripts/report knows, with the same figures, as a picture and a table.

import { get } from "./api.js";
import { moneyChart } from "./charts.js";
import { el, empty, failure, fill, loading, table } from "./dom.js";
import { counted, moment, percent, price, coins, share, signedUsd, span, time, tone, usd } from "./format.js";
import { field, pickButtons, select } from "./parts.js";

const BY = [["asset", "Asset"], ["day", "Day"], ["week", "Week"], ["month", "Month"], ["cycle", "Cycle"]];
const SPANS = [["", "All time"], ["today", "Today"], ["7d", "7 days"], ["30d", "30 days"], ["365d", "A year"]];

export function show(root, place, session) {
  const asked = { by: place.query.get("by") ?? "asset", since: place.query.get("since") ?? "", until: "", asset: place.query.get("asset") ?? "" };
  const shown = el("div.columns", {}, loading());
  const csv = el("a.button", { download: "report.csv" }, "Download CSV");
  const since = el("input", { placeholder: "2026-01-31, 7d", autocomplete: "off", value: asked.since });
  const until = el("input", { placeholder: "now", autocomplete: "off" });
  const asset = select([["", "all"], ...(session.symbols ?? []).map((one) => [one, one])], asked.asset);
  const picture = profitPicture();
  let visit = 0, isClosed = false;

  const ask = async () => {
    const own = ++visit;
    Object.assign(asked, { since: since.value.trim(), until: until.value.trim(), asset: asset.value });
    const query = Object.fromEntries(Object.entries(asked).filter(([, value]) => value));
    csv.href = `/api/report.csv?${new URLSearchParams(query)}`;
    fill(shown, loading());
    try {
      const [report, curve] = await Promise.all([get("report", query), get("report", { ...query, by: "day" })]);
      if (own !== visit || isClosed) return;
      fill(shown, reportParts(report));
      picture.set(curve.lines);
    } catch (error) {
      if (own === visit) fill(shown, failure(error, ask));
    }
  };
  for (const control of [since, until, asset]) control.addEventListener("change", ask);
  const by = pickButtons("One line for each", BY, asked.by, (name) => { asked.by = name; ask(); });
  const spans = pickButtons("Span", SPANS, asked.since, (name) => { since.value = name; until.value = ""; ask(); });
  root.append(
    el("div.head", {}, el("h1", {}, "Report"), csv),
    picture.node,
    el("section.card", { "aria-label": "Report" },
      el("div.filters", {}, el("div.field.auto", {}, el("span.quiet.small", {}, "One line for each"), by),
        el("div.field.auto", {}, el("span.quiet.small", {}, "Span"), spans),
        field("since", "Since", since), field("until", "Until", until), field("asset", "Asset", asset)),
      shown));
  ask();
  return { close() { isClosed = true; picture.close(); } };
}

function profitPicture() {
  const canvas = el("div.chart");
  const over = el("div.over", {}, loading());
  const node = el("section.card", { "aria-label": "Profit of each day" },
    el("header", {}, el("h2", {}, "Profit of each day"), el("span.quiet.small", {}, "USD after fees, days in UTC")),
    el("div.chart", {}, canvas, over));
  let made = null, isClosed = false;
  return {
    node,
    async set(lines) {
      if (!lines.length) {
        over.hidden = false;
        fill(over, empty("No cycle is complete in this span."));
        return;
      }
      made ??= moneyChart(canvas, "Profit of each day", { isSigned: true, isBars: true });
      const chart = await made;
      if (isClosed) return;
      over.hidden = true;
      chart.set([{ curve: lines.map((one) => ({ time: `${one.name}T00:00:00Z`, usd: one.profit_usd })), fits: true }]);
    },
    async close() {
      isClosed = true;
      (await made)?.close();
    },
  };
}

function reportParts(report) {
  const { total, open, ended_in_error: failed } = report;
  const marked = (line, words) => (line.fees_are_estimated ? `~${words}` : words);
  const isCycles = report.by === "cycle";
  const first = isCycles
    ? [["Cycle", "title"], ["Asset"], ["Completed"], ["Held", "num"]]
    : [[report.by === "asset" ? "Asset" : `${report.by[0].toUpperCase()}${report.by.slice(1)} (UTC)`, "title"], ["Cycles", "num"], ["Won", "num"], ["Held", "num"], ["Worst", "num"]];
  const columns = [...first, ["Safety", "num"], ["Cost", "num"], ["At work", "num"], ["Peak", "num"], ["Fees", "num"], ["Profit", "num"], ["Of cost", "num"], ["Of peak", "num"]];
  const cells = (line, isTotal) => [
    ...(isCycles
      ? [line.name, isTotal ? counted(line.cycles, "cycle") : line.symbol, isTotal ? `${marked(line, share(line.won_percent))} won` : time(line.completed_at), span(line.mean_holding_seconds)]
      : [line.name, String(line.cycles), marked(line, share(line.won_percent)), span(line.mean_holding_seconds), span(line.worst_holding_seconds)]),
    String(line.max_safety_orders_used), usd(line.cost_usd), usd(line.mean_capital_usd), usd(line.peak_capital_usd),
    marked(line, usd(line.fees_usd)),
    el("span", { class: tone(line.profit_usd) }, marked(line, signedUsd(line.profit_usd))),
    marked(line, percent(line.return_on_cost_percent)), marked(line, percent(line.return_on_peak_percent)),
  ];
  if (!report.lines.length && !total.cycles) return empty("No cycle is complete in this span.");
  const made = table("Complete cycles", columns, [...report.lines.map((line) => cells(line, false)), cells(total, true)], ".cards");
  made.querySelector("tbody").lastElementChild.className = "total";
  const notes = [];
  if (total.fees_are_estimated) notes.push("~ based on estimated fees: they are posted hours later.");
  if (total.stop_losses) notes.push(`Stop losses: ${counted(total.stop_losses, "cycle")} with ${signedUsd(total.stop_losses_usd)} USD, in the profit.`);
  if (open.cycles) notes.push(`Open: ${counted(open.cycles, "cycle")} with ${usd(open.bound_usd)} USD bound, not in the profit.`);
  if (failed.cycles) notes.push(`Ended in error: ${counted(failed.cycles, "cycle")} whose coins left the account, ${usd(failed.lost_usd)} USD, not in the profit.`);
  if (report.account) notes.push(`Account now: equity ${usd(report.account.equity_usd)} USD, of it ${usd(report.account.cash_usd)} USD cash.`);
  return [made, el("div.inside", {},
    el("p.quiet.small", {}, `${moment(report.start)} to ${moment(report.end)}. Money in USD.`), notes.map((words) => el("p.quiet.small", {}, words))),
    report.last_fills?.length ? el("div.inside", {}, el("h2", {}, "Last fills"), table("Last fills", [["When", "title"], "Asset", "What", ["coins", "num"], ["price", "num"], ["USD", "num"]],
      report.last_fills.map((one) => [time(one.ended_at), one.symbol, one.side === "buy" ? "bought" : "sold", coins(one.filled_qty), price(one.filled_avg_price), usd(one.filled_usd)]), ".cards")) : null];
}
