// The prices at which the bot acts, as lines of a chart: the words, the colours, the ladder.

import { el } from "./dom.js";

/** `lines` as the server gives them; a price that is not there has no line. */
export function linesOf(lines) {
  const found = [];
  const add = (id, value, title, colour, isSolid = false) => {
    if (value !== null && value !== undefined) found.push({ id, price: Number(value), title, colour, isSolid });
  };
  add("average", lines.average, "average", "accent", true);
  add("take_profit", lines.take_profit, "take profit", "gain");
  add("trail_target", lines.trail_target, "sale of the trail", "gain");
  add("trail_peak", lines.trail_peak, "peak", "gain", true);
  add("stop_loss", lines.stop_loss, "stop loss", "loss");
  found.push(...ladderLines(lines.safety_orders));
  if (lines.open_order) add("open", lines.open_order.price, `open ${lines.open_order.side}`, "warning", true);
  return found;
}

export function ladderLines(orders) {
  return (orders ?? []).map((one) => ({
    id: `order-${one.number}`, price: Number(one.price), colour: "quiet",
    title: one.number === 0 ? "base" : `safety ${one.number}`, isMinor: true,
  }));
}

export function legend() {
  const key = (words, colour, isDashed) => {
    const made = el(isDashed ? "span.key.dashed" : "span.key", {}, words);
    made.style.setProperty("--key", `var(--${colour})`);
    return made;
  };
  return el("div.legend", {}, key("average", "accent"), key("take profit", "gain", true), key("stop loss", "loss", true), key("ladder", "quiet", true));
}
