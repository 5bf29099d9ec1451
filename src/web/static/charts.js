// Charts on lightweight-charts: its colours from the sheet, its times in the viewer's zone, its keys.
// The library is loaded by the first page that draws. Prices are floats here and nowhere else.

import { price, signedUsd, usd, utc } from "./format.js";
import { colour } from "./theme.js";

const LIBRARY = "./vendor/lightweight-charts/lightweight-charts.standalone.production.mjs";
const NARROW = 600; // px: only the important lines are named
const FEW = 60; // candles: fewer are not drawn wider
const MOST_BAR_PX = 48;
const MANY = 100; // fills: smaller marks
const STEP = 0.15; // of what is seen, for one press of an arrow key

const WEEKDAY = new Intl.DateTimeFormat("en-GB", { weekday: "short" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const MONTH = new Intl.DateTimeFormat("en-GB", { month: "short", year: "numeric" });
const MINUTE = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const WHOLE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

let library = null;

export function load() {
  library ??= import(LIBRARY);
  return library;
}

/** Seconds since 1970 of a time in text (or of seconds). */
export function seconds(at) {
  return typeof at === "number" ? at : Math.floor(Date.parse(at) / 1000);
}

/** `days`: "only" where no hour matters, "first" where a day's first point stands for the day. */
function tick(at, kind, days) {
  const date = new Date(at * 1000);
  if (kind <= 1) return MONTH.format(date); // a year or a month begins
  if (days === "only") return DAY.format(date);
  if (kind === 2) { // a day begins in UTC: here it may be any hour
    const isMidnight = date.getHours() === 0 && date.getMinutes() === 0;
    return days === "first" || isMidnight ? DAY.format(date) : `${WEEKDAY.format(date)} ${MINUTE.format(date)}`;
  }
  return MINUTE.format(date);
}

function look() {
  const quiet = colour("quiet"), grid = colour("grid"), line = colour("line");
  return {
    layout: {
      background: { color: colour("surface") }, textColor: quiet, fontSize: 11, attributionLogo: false,
      fontFamily: getComputedStyle(document.documentElement).fontFamily,
    },
    grid: { vertLines: { color: grid }, horzLines: { color: grid } },
    rightPriceScale: { borderColor: line },
    timeScale: { borderColor: line },
    crosshair: { vertLine: { labelBackgroundColor: quiet }, horzLine: { labelBackgroundColor: quiet } },
  };
}

/**
 * A chart in `box`, which is as large as the sheet says. `recolour(chart)` is called again where the
 * theme changes. `name` is what a screen reader calls it; the figures stand in a table beside it.
 */
export async function makeChart(box, name, options = {}) {
  const lib = await load();
  box.tabIndex = 0;
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", `${name}. Arrow keys move it, plus and minus zoom.`);
  const chart = lib.createChart(box, {
    ...look(), autoSize: true,
    localization: { locale: "en-GB", timeFormatter: (at) => WHOLE.format(new Date(at * 1000)), ...options.localization },
    ...options.chart,
  });
  chart.applyOptions({
    timeScale: { timeVisible: true, secondsVisible: false, maxBarSpacing: MOST_BAR_PX, tickMarkFormatter: (at, kind) => tick(at, kind, options.days?.()), rightOffset: 4, ...options.timeScale },
    rightPriceScale: { minimumWidth: 68 },
  });
  const recolour = () => {
    chart.applyOptions(look());
    options.recolour?.();
  };
  document.addEventListener("themechange", recolour);
  box.addEventListener("keydown", (event) => move(chart, event));
  return {
    lib, chart,
    close() {
      document.removeEventListener("themechange", recolour);
      chart.remove();
    },
  };
}

function move(chart, event) {
  const scale = chart.timeScale();
  const seen = scale.getVisibleLogicalRange();
  if (!seen || event.ctrlKey || event.metaKey || event.altKey) return;
  const width = seen.to - seen.from;
  const by = { ArrowLeft: [-STEP, -STEP], ArrowRight: [STEP, STEP], "+": [STEP, -STEP], "-": [-STEP, STEP] }[event.key];
  if (event.key === "Home") scale.fitContent();
  else if (event.key === "End") scale.scrollToRealTime();
  else if (by) scale.setVisibleLogicalRange({ from: seen.from + by[0] * width, to: seen.to + by[1] * width });
  else return;
  event.preventDefault();
}

/** Points of `[{time, usd}]` (or `[time, usd]`), one for each second, in their order. */
export function points(curve, field = "usd") {
  const found = [];
  for (const one of curve ?? []) {
    const [at, value] = Array.isArray(one) ? one : [one.time, one[field]];
    if (value === null || value === undefined) continue;
    const point = { time: seconds(at), value: Number(value) };
    if (found.length && found.at(-1).time >= point.time) found[found.length - 1] = { ...point, time: found.at(-1).time };
    else found.push(point);
  }
  return found;
}

/** A curve of USD over time. `set([{curve, colour}])`: the first is filled, the others are lines. */
export async function moneyChart(box, name, { isSigned = false, isStepped = false, isBars = false } = {}) {
  const show = isSigned ? signedUsd : usd;
  let series = [];
  let drawn = [];
  const made = await makeChart(box, name, {
    recolour: () => paint(),
    localization: { priceFormatter: (value) => show(value.toFixed(2)) },
    timeScale: { rightOffset: 0 }, days: () => (isBars ? "only" : "first"),
  });
  const { chart, lib } = made;
  const paint = () => series.forEach((one, at) => one.applyOptions(styleOf(drawn[at], at)));
  const toned = (found) => (isBars ? found.map((one) => ({ ...one, color: colour(one.value < 0 ? "loss" : "gain") })) : found);
  const styleOf = (one, at) => {
    const line = colour(one.colour ?? "accent");
    const faint = line.replace("rgb(", "rgba(").replace(")", ", 0.16)");
    const none = line.replace("rgb(", "rgba(").replace(")", ", 0.0)");
    if (isBars) return {};
    return at === 0 ? { lineColor: line, topColor: faint, bottomColor: none } : { color: line };
  };
  return {
    ...made,
    set(curves) {
      const isNew = curves.length !== series.length;
      drawn = curves;
      if (isNew) {
        series.forEach((one) => chart.removeSeries(one));
        series = curves.map((_, at) => chart.addSeries(isBars ? lib.HistogramSeries : at === 0 ? lib.AreaSeries : lib.LineSeries, {
          lineWidth: 2, lineType: isStepped ? 1 : 0, priceLineVisible: false, crosshairMarkerRadius: 3,
        }));
      }
      paint();
      curves.forEach((one, at) => series[at].setData(toned(points(one.curve))));
      if (isNew || curves.some((one) => one.fits)) chart.timeScale().fitContent();
    },
  };
}

/** Candles with fills, an average and lines of prices: `candleChart(box, name)`. */
export async function candleChart(box, name) {
  const held = { lines: new Map(), wanted: [], markers: [], candles: [], seconds: 60, wholeLadder: true };
  const made = await makeChart(box, name, { recolour: () => paint(), days: () => (held.seconds >= 86400 ? "only" : null), localization: { priceFormatter: (value) => price(value) } });
  const { chart, lib } = made;
  const series = chart.addSeries(lib.CandlestickSeries, {
    priceLineVisible: true, lastValueVisible: true, borderVisible: false,
    autoscaleInfoProvider: (original) => widen(original()),
  });
  const average = chart.addSeries(lib.LineSeries, {
    lineWidth: 2, lineType: 1, priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false,
    autoscaleInfoProvider: () => null,
  });
  const marks = lib.createSeriesMarkers(series, []);

  function widen(found) {
    if (!found?.priceRange || !held.wholeLadder) return found;
    const prices = held.wanted.map((one) => one.price);
    const { minValue, maxValue } = found.priceRange;
    return { ...found, priceRange: { minValue: Math.min(minValue, ...prices), maxValue: Math.max(maxValue, ...prices) } };
  }

  function paint() {
    const gain = colour("gain"), loss = colour("loss");
    series.applyOptions({ upColor: gain, wickUpColor: gain, downColor: loss, wickDownColor: loss });
    average.applyOptions({ color: colour("accent") });
    for (const [id, line] of held.lines) line.applyOptions(lineStyle(held.wanted.find((one) => one.id === id)));
    showMarkers();
  }

  function lineStyle(one) {
    return {
      price: one.price, title: one.isMinor && box.clientWidth < NARROW ? "" : one.title, color: colour(one.colour), lineStyle: one.isSolid ? 0 : 2, lineWidth: 1,
      axisLabelVisible: one.hasLabel ?? true, lineVisible: true,
    };
  }

  function showMarkers() {
    const first = held.candles[0]?.time ?? Infinity;
    marks.setMarkers(held.markers.filter((one) => one.time >= first).map((one) => {
      const isBuy = one.side === "buy";
      return {
        time: one.time, position: isBuy ? "belowBar" : "aboveBar", shape: isBuy ? "arrowUp" : "arrowDown",
        color: colour(isBuy ? "accent" : "warning"), text: one.text, size: held.markers.length > MANY ? 0.5 : 1,
      };
    }));
  }
  paint();

  return {
    ...made, series,
    /** Newest candles last; `keeps` the place that is seen (older ones came). */
    setCandles(candles, barSeconds, { keeps = false } = {}) {
      const seen = chart.timeScale().getVisibleRange();
      held.candles = candles;
      held.seconds = barSeconds;
      const least = candles.length ? Math.min(...candles.map((one) => one.low)) : 1;
      const places = least >= 100 ? 2 : least >= 1 ? 4 : 8;
      series.applyOptions({ priceFormat: { type: "price", precision: places, minMove: 10 ** -places } });
      series.setData(candles);
      showMarkers();
      if (keeps && seen) chart.timeScale().setVisibleRange(seen);
      else if (candles.length > 160) chart.timeScale().setVisibleLogicalRange({ from: candles.length - 150, to: candles.length + 6 });
      else if (candles.length < FEW) chart.timeScale().setVisibleLogicalRange({ from: candles.length - FEW, to: candles.length + 6 });
      else chart.timeScale().fitContent();
    },
    /** A live price: it moves the last candle, or begins the next. */
    addPrice(at, value) {
      const begins = Math.floor(at / held.seconds) * held.seconds;
      const last = held.candles.at(-1);
      if (!last || begins < last.time || !(value > 0)) return;
      if (begins === last.time) {
        last.close = value;
        last.high = Math.max(last.high, value);
        last.low = Math.min(last.low, value);
        series.update(last);
      } else {
        const next = { time: begins, open: last.close, high: Math.max(last.close, value), low: Math.min(last.close, value), close: value };
        held.candles.push(next);
        series.update(next);
      }
    },
    /** `[{id, price, title, colour, isSolid}]`: those that changed are moved, the rest stay. */
    setLines(wanted) {
      held.wanted = wanted.filter((one) => Number.isFinite(one.price));
      const ids = new Set(held.wanted.map((one) => one.id));
      for (const [id, line] of held.lines) {
        if (ids.has(id)) continue;
        series.removePriceLine(line);
        held.lines.delete(id);
      }
      for (const one of held.wanted) {
        const line = held.lines.get(one.id);
        if (line) line.applyOptions(lineStyle(one));
        else held.lines.set(one.id, series.createPriceLine(lineStyle(one)));
      }
    },
    setWholeLadder(is) {
      held.wholeLadder = is;
      chart.priceScale("right").applyOptions({ autoScale: true });
      series.applyOptions({});
    },
    /** `[{time, side, text}]`, in their order. */
    setMarkers(markers) {
      held.markers = markers.map((one) => ({ ...one, time: Math.floor(seconds(one.time) / held.seconds) * held.seconds }));
      showMarkers();
    },
    setAverage(steps, until) {
      const line = points(steps, "price").map((one) => ({ ...one, time: Math.floor(one.time / held.seconds) * held.seconds }));
      const found = new Map(line.map((one) => [one.time, one]));
      if (line.length && until && until > line.at(-1).time) found.set(until, { time: until, value: line.at(-1).value });
      average.setData([...found.values()].sort((a, b) => a.time - b.time));
    },
    get candles() { return held.candles; },
    titleOf: (at) => utc(at * 1000),
  };
}

/** Candles of the server as the library takes them. */
export function readCandles(rows) {
  return rows.map(([at, open, high, low, close]) => ({
    time: seconds(at), open: Number(open), high: Number(high), low: Number(low), close: Number(close),
  }));
}
