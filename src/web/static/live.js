// The stream of figures: one for the whole page. Says when it is cut, and comes back by itself.

import { Failed, signedOut } from "./api.js";

const SILENCE_MS = 25000; // the server says something every 10 seconds
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10000;

const told = { status: new Set(), record: new Set(), state: new Set() };
let running = null;

/** The newest figures, and what is behind them: `gone` by name; `isCut`: no stream at all, and why. */
export const now = { status: null, gone: new Map(), isCut: false, why: null, heardAt: null, goodAt: null };

/** `on("status", f)`: "status", "record" or "state" (something went or came back). Gives its end. */
export function on(what, listener) {
  told[what].add(listener);
  return () => told[what].delete(listener);
}

function tell(what, value) {
  for (const listener of [...told[what]]) listener(value);
}

export function start() {
  if (running) return;
  running = new AbortController();
  follow(running.signal);
}

export function stop() {
  running?.abort();
  running = null;
}

async function follow(ended) {
  let wait = FIRST_WAIT_MS;
  while (!ended.aborted) {
    try {
      await listen(ended, () => { wait = FIRST_WAIT_MS; });
    } catch (error) {
      if (ended.aborted) return;
      if (error.status === 401) {
        stop();
        signedOut();
        return;
      }
      now.why = error.status ? error.message : null;
      if (error.waitMs) wait = Math.max(wait, error.waitMs);
    }
    if (ended.aborted) return;
    now.isCut = true;
    tell("state");
    await new Promise((go) => setTimeout(go, wait));
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
  }
}

async function listen(ended, hears) {
  const own = new AbortController();
  const end = () => own.abort();
  ended.addEventListener("abort", end);
  let silence = setTimeout(end, SILENCE_MS);
  try {
    const response = await fetch("/api/live", {
      credentials: "same-origin", cache: "no-store", signal: own.signal,
      headers: { Accept: "text/event-stream" },
    });
    if (!response.ok) {
      const said = await response.json().catch(() => null);
      const error = new Failed(response.status, said?.error ?? "no stream");
      error.waitMs = 1000 * Number(response.headers.get("Retry-After") ?? 0);
      throw error;
    }
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    now.gone.clear(); // what is gone, the new stream says again
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(silence);
      silence = setTimeout(end, SILENCE_MS);
      hears();
      if (now.isCut) {
        now.isCut = false;
        tell("state");
      }
      const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) take(block);
    }
  } finally {
    clearTimeout(silence);
    own.abort();
    ended.removeEventListener("abort", end);
  }
}

function take(block) {
  let name = "message";
  const parts = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) parts.push(line.slice(5).trimStart());
  }
  if (!parts.length && name !== "back") return; // a comment
  const body = parts.length ? JSON.parse(parts.join("\n")) : {};
  if (name === "status") {
    now.status = body;
    now.heardAt = body.as_of;
    if (body.assets && !body.status?.database_problem && !body.status?.exchange_problem) now.goodAt = body.as_of;
    tell("status", body);
    if (now.gone.size) tell("state");
  } else if (name === "record") {
    tell("record", body);
  } else if (name === "gone") {
    now.gone.set(body.what, body);
    tell("state");
  } else if (name === "back") {
    if (body?.what) now.gone.delete(body.what);
    else now.gone.clear();
    tell("state");
  }
}
