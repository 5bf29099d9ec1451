// How exact figures are shown: as utils/formatting.py shows them. Rounds for the eye, computes nothing.

export const NOTHING = "-";

const ENGLISH = "en-US";
const numbers = new Map();

function rounded(text, options) {
  const name = JSON.stringify(options);
  if (!numbers.has(name)) numbers.set(name, new Intl.NumberFormat(ENGLISH, options));
  return numbers.get(name).format(text); // a string: every digit counts
}

function isNone(value) {
  return value === null || value === undefined || value === "";
}

function places(count) {
  return { minimumFractionDigits: count, maximumFractionDigits: count, roundingMode: "halfEven" };
}

/** Cents and thousands; never `-0.00`. */
export function usd(value) {
  if (isNone(value)) return NOTHING;
  const shown = rounded(String(value), places(2));
  return shown === "-0.00" ? "0.00" : shown;
}

export function signedUsd(value, isEstimated = false) {
  if (isNone(value)) return NOTHING;
  const shown = usd(value);
  return (isEstimated ? "~" : "") + (shown.startsWith("-") ? shown : `+${shown}`);
}

/** USD a coin: two places, four below 100, six significant digits below 1. */
export function price(value) {
  if (isNone(value)) return NOTHING;
  const size = Math.abs(Number(value));
  if (size >= 1) return rounded(String(value), places(size >= 100 ? 2 : 4));
  return rounded(String(value), { maximumSignificantDigits: 6, roundingMode: "halfEven" });
}

/** Nine significant digits and nine places at most; cut, never more than there is. */
export function coins(value) {
  if (isNone(value) || Number(value) === 0) return NOTHING;
  const whole = Math.max(0, Math.min(9, Math.trunc(Math.abs(Number(value))).toString().length));
  const most = Math.abs(Number(value)) >= 1 ? 9 - whole : 9;
  return rounded(String(value), { maximumFractionDigits: Math.max(0, most), roundingMode: "trunc" });
}

/** With its sign, two places. */
export function percent(value) {
  if (isNone(value)) return NOTHING;
  const shown = rounded(String(value), { ...places(2), signDisplay: "always" });
  return `${shown}\u00a0%`;
}

export function share(value) {
  return isNone(value) ? NOTHING : `${rounded(String(value), places(0))}\u00a0%`;
}

/** Exact, with thousands. */
export function number(value) {
  return isNone(value) ? NOTHING : rounded(String(value), { maximumFractionDigits: 20 });
}

export function counted(count, noun) {
  return count === 1 ? `1 ${noun}` : `${count} ${noun}s`;
}

/** How long: `4 s`, `12 min`, `3 h 5 min`, `2 days`. */
export function span(seconds) {
  if (isNone(seconds)) return NOTHING;
  const whole = Math.max(0, Math.round(Number(seconds)));
  if (whole < 120) return `${whole} s`;
  if (whole < 7200) return `${Math.floor(whole / 60)} min`;
  if (whole < 172800) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} days`;
}

/** `gain`, `loss` or neither: the colour of a figure whose sign is written, too. */
export function tone(value) {
  const size = isNone(value) ? 0 : Number(value);
  return size > 0 ? "gain" : size < 0 ? "loss" : "";
}

// Times: in the viewer's zone; the title has them in UTC.

const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const YEAR = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const MINUTE = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

export function clock(at) {
  return CLOCK.format(new Date(at));
}

export function minute(at) {
  return MINUTE.format(new Date(at));
}

export function day(at) {
  const date = new Date(at);
  return (date.getFullYear() === new Date().getFullYear() ? DAY : YEAR).format(date);
}

/** Today the time alone, else with its day. */
export function moment(at) {
  const date = new Date(at);
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? clock(date) : `${day(date)} ${minute(date)}`;
}

export function utc(at) {
  return `${new Date(at).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** A `<time>` in the viewer's zone, its title in UTC. */
export function time(at, words = moment) {
  const node = document.createElement("time");
  if (isNone(at)) {
    node.textContent = NOTHING;
    return node;
  }
  node.dateTime = new Date(at).toISOString();
  node.title = utc(at);
  node.textContent = words(at);
  return node;
}
