// Events: alerts, what was changed, and the edges of the log; filtered by the server, live.

import { get, send } from "./api.js";
import { tellUser } from "./dialogs.js";
import { el, empty, failure, fill, icon, loading } from "./dom.js";
import { time } from "./format.js";
import { field, select } from "./parts.js";

const LEVELS = [["", "usual"], ["error", "errors"], ["warning", "and warnings"], ["info", "every step"]];
const TYPING_MS = 300;
const SOON_MS = 400;

export function show(root, place, session) {
  const level = select(LEVELS, place.query.get("level") ?? "");
  const symbol = select([["", "all"], ...(session.symbols ?? []).map((one) => [one, one])], place.query.get("symbol") ?? "");
  const kind = el("input", { placeholder: "order_missing", autocomplete: "off", spellcheck: "false" });
  const text = el("input", { type: "search", placeholder: "any words", autocomplete: "off" });
  const list = el("tbody");
  const told = el("div", {}, loading());
  const body = el("div.scroll", { tabindex: "0", role: "region", "aria-label": "Events" },
    el("table.cards", {}, el("caption.unseen", {}, "Events, newest first"),
      el("thead", {}, el("tr", {}, ["When", "Level", "What", "Asset", "Words"].map((title) => el("th", { scope: "col" }, title)))), list));
  const more = el("button", { type: "button", onclick: () => ask(true) }, "Older events");
  const below = el("div.inside", {}, more);
  let items = [], timer = null, visit = 0, isClosed = false;
  body.hidden = below.hidden = true;

  const ask = async (isOlder = false) => {
    const own = ++visit;
    const query = { level: level.value, symbol: symbol.value, kind: kind.value.trim(), text: text.value.trim(), before: isOlder ? items.at(-1)?.id : null };
    try {
      const found = await get("events", query);
      if (own !== visit || isClosed) return;
      items = isOlder ? [...items, ...found.items] : found.items;
      fill(list, items.map((one) => row(one, ask)));
      body.hidden = !items.length;
      below.hidden = !found.has_more;
      fill(told, items.length ? null : empty("Nothing of this kind has happened."));
    } catch (error) {
      if (own === visit) fill(told, failure(error, () => ask(isOlder)));
    }
  };
  const soon = (wait) => {
    clearTimeout(timer);
    timer = setTimeout(ask, wait);
  };
  for (const control of [level, symbol]) control.addEventListener("change", () => ask());
  for (const control of [kind, text]) control.addEventListener("input", () => soon(TYPING_MS));
  root.append(el("div.head", {}, el("h1", {}, "Events")),
    el("section.card", { "aria-label": "Events" },
      el("div.filters", { role: "search" }, field("level", "Level", level), field("symbol", "Asset", symbol), field("kind", "Kind", kind),
        Object.assign(field("text", "Words", text), { className: "field grow" })),
      told, body, below));
  ask();
  return {
    record() { soon(SOON_MS); },
    close() { isClosed = true; clearTimeout(timer); },
  };
}

function row(one, again) {
  const isOpen = one.source === "alert" && !one.ended_at && !one.acknowledged;
  const acknowledge = el("button", {
    type: "button",
    onclick: async () => {
      acknowledge.disabled = true;
      try {
        const answer = await send("alerts/ack", { id: one.id });
        tellUser(answer?.done ?? "Acknowledged.");
        again();
      } catch (error) {
        acknowledge.disabled = false;
        tellUser(error.message);
      }
    },
  }, "Acknowledge");
  const ended = one.ended_at ? el("span.sub", {}, "ended ", time(one.ended_at)) : one.acknowledged ? el("span.sub", {}, "acknowledged") : null;
  const level = one.level === "info" && one.ended_at ? "info" : one.level;
  return el("tr", {},
    el("td.title", { "data-label": "When" }, time(one.at)),
    el("td", { "data-label": "Level" }, el(`span.mark.${level}`, {}, icon(level === "info" ? "info" : level === "error" ? "error" : "warning"), level)),
    el("td", { "data-label": "What" }, String(one.kind ?? "").replaceAll("_", " "), el("span.sub", {}, one.source)),
    el("td", { "data-label": "Asset" }, one.symbol ? el("a", { href: `#/asset/${encodeURI(one.symbol)}` }, one.symbol) : "-"),
    el("td.words", { "data-label": "Words" }, one.words, one.cure ? el("span.sub", {}, one.cure) : null, ended, isOpen ? el("p", {}, acknowledge) : null));
}
