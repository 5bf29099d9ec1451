// The frame: who is signed in, which page is shown, and how old its figures are.

import { get, onSignedOut, send, useCsrf } from "./api.js";
import { tellUser } from "./dialogs.js";
import { el, failure, fill, icon, loading, say } from "./dom.js";
import { clock, moment, time, utc } from "./format.js";
import * as live from "./live.js";
import * as theme from "./theme.js";

const PAGES = {
  overview: () => import("./overview.js"),
  asset: () => import("./asset.js"),
  report: () => import("./report.js"),
  try: () => import("./tryout.js"),
  events: () => import("./events.js"),
};
const at = (name) => document.getElementById(name);

export const session = { account: null, symbols: [], version: null };
let page = null;
let visit = 0;

// Signing in: the token comes after the `#` of the link, which no server and no log ever sees.

function takeToken(text) {
  const found = /token=([^&\s]+)/.exec(text);
  return found ? decodeURIComponent(found[1]) : null;
}

async function begin() {
  theme.begin(at("theme"));
  const token = takeToken(location.hash);
  if (token) {
    history.replaceState(null, "", location.pathname);
    try {
      await send("session", { token });
    } catch (error) {
      signIn(error);
      return;
    }
  }
  await enter();
}

async function enter() {
  let found;
  try {
    found = await get("session");
  } catch (error) {
    if (error.status === 401) signIn();
    else {
      fill(at("main"), failure(error, enter));
      setTimeout(() => { if (!live.now.heardAt && at("main").querySelector(".failure")) enter(); }, 5000);
    }
    return;
  }
  useCsrf(found.csrf);
  Object.assign(session, found);
  say(at("version"), `DCA bot ${found.version}`);
  const money = at("money");
  money.hidden = false;
  money.classList.toggle("real", found.account.is_real_money);
  say(money, found.account.words);
  showPause(found.paused);
  live.start();
  show();
}

function signIn(error = null) {
  page?.close?.();
  page = null;
  live.stop();
  document.title = "Sign in - DCA bot";
  const field = el("input", { id: "token", type: "password", autocomplete: "off", required: true, "aria-describedby": "how" });
  const failed = el("div");
  if (error) failed.append(failure(error));
  const form = el("form.card.sign-in", {
    onsubmit: async (event) => {
      event.preventDefault();
      try {
        await send("session", { token: takeToken(field.value) ?? field.value.trim() });
        field.value = "";
        await enter();
      } catch (wrong) {
        fill(failed, failure(wrong));
        field.select();
      }
    },
  },
  el("header", {}, el("h1", {}, "Sign in")),
  el("div.inside", {},
    el("p.quiet", { id: "how" }, "Open the link that ", el("code", {}, "scripts/web link"), " prints, or paste it here. The browser then stays signed in."),
    el("p", {}, el("label", { for: "token" }, "Link or token")),
    el("div.group", {}, field, el("button.main", { type: "submit" }, "Sign in")), failed));
  at("pause").hidden = true;
  fill(at("main"), form);
  field.focus();
}

onSignedOut(() => signIn());

// Which page: #/, #/asset/BTC/USD, #/report, #/try/BTC/USD, #/events

function readPlace() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/");
  const known = Object.hasOwn(PAGES, name) ? name : "overview";
  return { name: known, symbol: decodeURIComponent(rest.join("/")) || null, query: new URLSearchParams(query ?? "") };
}

async function show() {
  const own = ++visit;
  const place = readPlace();
  page?.close?.();
  page = null;
  const main = at("main");
  fill(main, loading());
  for (const link of document.querySelectorAll("nav a")) {
    const isHere = link.dataset.page === place.name;
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  try {
    const module = await PAGES[place.name]();
    if (own !== visit) return;
    const root = el("div.figures");
    fill(main, root);
    page = module.show(root, place, session);
    const head = root.querySelector("h1");
    document.title = `${head?.textContent ?? "Overview"} - DCA bot`;
    if (own > 1) main.focus({ preventScroll: true });
    if (own > 1) window.scrollTo(0, 0);
    if (live.now.status) page?.update?.(live.now.status);
  } catch (error) {
    if (own === visit) fill(main, failure(error, show));
  }
}

window.addEventListener("hashchange", () => {
  if (takeToken(location.hash)) begin();
  else if (session.version) show();
});

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the place after the `#` is the page's own
  at("main").focus();
});

// What every page has: pause, the age of the figures, the band

function showPause(isPaused) {
  const button = at("pause");
  button.hidden = false;
  button.dataset.paused = isPaused ? "yes" : "no";
  button.classList.toggle("paused", isPaused);
  const word = isPaused ? "Resume" : "Pause";
  if (!button.textContent.startsWith(word)) fill(button, icon(isPaused ? "play" : "pause"), el("span", {}, word, el("span.longer", {}, " buying")));
  button.setAttribute("aria-label", `${word} buying`);
  button.title = isPaused ? "Buying is paused: no buys, sells go on" : "No new buys; sells go on";
}

at("pause").addEventListener("click", async () => {
  const button = at("pause");
  const isPaused = button.dataset.paused === "yes";
  button.disabled = true;
  try {
    const answer = await send(isPaused ? "resume" : "pause");
    showPause(!isPaused);
    tellUser(answer.done);
  } catch (error) {
    tellUser(`${error.message}${error.cure ? `: ${error.cure}` : ""}`);
  } finally {
    button.disabled = false;
  }
});

live.on("status", (status) => {
  showPause(Boolean(status.paused ?? status.status?.daemon?.is_paused));
  const shown = at("clock");
  say(shown, clock(status.as_of));
  shown.title = `Figures of ${utc(status.as_of)}`;
  page?.update?.(status);
});

live.on("record", (record) => page?.record?.(record));

function showBand() {
  const { gone, isCut, why, goodAt } = live.now;
  const isOld = isCut || gone.size > 0;
  document.body.classList.toggle("old", isOld);
  const band = at("band");
  band.hidden = !isOld;
  if (!isOld) {
    fill(band);
    delete band.dataset.shown;
    return;
  }
  const lines = [...gone.values()].map((one) => el("li", {}, one.words ?? `The ${one.what} is gone`,
    one.since ? [" since ", time(one.since)] : null,
    one.cure ? el("span.quiet", {}, ` ${one.cure}`) : null));
  if (isCut) lines.unshift(el("li", {}, `${why ?? "The page's server does not answer"}. It is tried again.`));
  const last = goodAt ? ["Last good figures of ", time(goodAt, moment), "."] : ["No figures yet."];
  const text = JSON.stringify([[...gone.keys()], isCut, why, goodAt]);
  if (band.dataset.shown === text) return; // or it would be read aloud again and again
  band.dataset.shown = text;
  fill(band, icon("away"), el("ul", {}, lines, el("li", {}, last)));
}

live.on("state", showBand);

begin();
