// Requests to the page's own server. Every error is one line and, where there is one, its cure.

let csrf = null;
const listeners = new Set();

export class Failed extends Error {
  constructor(status, words, cure) {
    super(words);
    this.status = status; // 0: no answer
    this.cure = cure ?? null;
  }
}

/** `told()` is called when a session has ended, wherever that is noticed. */
export function onSignedOut(told) {
  listeners.add(told);
}

export function signedOut() {
  csrf = null;
  for (const told of listeners) told();
}

export function useCsrf(token) {
  csrf = token;
}

async function answerOf(path, options) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failed(0, "The page's server does not answer", "It may be starting: scripts/web run");
  }
  const text = await response.text();
  let body = null;
  try {
    body = text ? JSON.parse(text) : null;
  } catch {
    body = null;
  }
  if (response.ok) return body;
  if (response.status === 401 && !path.endsWith("/session")) signedOut();
  const words = body?.error ?? `The server answered ${response.status}`;
  throw new Failed(response.status, words, body?.cure);
}

/** GET `/api/name?...`; what is null in `query` is left out. */
export function get(name, query = {}, options = {}) {
  const chosen = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(chosen).toString();
  return answerOf(`/api/${name}${text ? `?${text}` : ""}`, options);
}

export function send(name, body = {}, options = {}) {
  const headers = { "Content-Type": "application/json" };
  if (csrf) headers["X-CSRF-Token"] = csrf;
  return answerOf(`/api/${name}`, {
    method: options.method ?? "POST", headers, body: JSON.stringify(body), signal: options.signal,
  });
}
