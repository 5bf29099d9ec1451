// Two steps before anything is changed: what would be done, in words, then the button that does it.

import { send } from "./api.js";
import { el, failure, fill, icon } from "./dom.js";

const SAID_MS = 6000;

/** One line that is also read aloud, gone after a moment. */
export function tellUser(words) {
  const line = el("p", {}, words);
  document.getElementById("said").append(line);
  setTimeout(() => line.remove(), SAID_MS);
}

/** An open <dialog>; closed with Escape too, then gone, and the focus is where it was. */
export function openDialog(title, parts, spec = "dialog") {
  const from = document.activeElement;
  const name = `title-${Date.now()}`;
  const close = el("button.plain", { type: "button", "aria-label": "Close" }, icon("error"));
  const box = el(spec, { "aria-labelledby": name },
    el("header", {}, el("h2", { id: name }, title), close), parts);
  close.addEventListener("click", () => box.close());
  box.addEventListener("close", () => {
    box.remove();
    if (from?.isConnected) from.focus();
  });
  document.body.append(box);
  box.showModal();
  return box;
}

/** Asks the server what `path` would do, shows it, and does it when confirmed. */
export async function twoSteps(path, symbol, title, isDangerous = false) {
  let asked;
  try {
    asked = await send(path, { symbol });
  } catch (error) {
    openDialog(title, el("div.inside", {}, failure(error)), "dialog.narrow");
    return;
  }
  if (asked.done) {
    tellUser(asked.done);
    return;
  }
  const inside = el("div.inside", {});
  const words = (answer) => String(answer.ask).split("\n").map((line) => el("p", {}, line));
  fill(inside, words(asked));
  const no = el("button", { type: "button", autofocus: true }, "Cancel");
  const yes = el(isDangerous ? "button.main.danger" : "button.main", { type: "button" }, title);
  const box = openDialog(title, [inside, el("div.actions", {}, no, yes)], "dialog.narrow");
  no.addEventListener("click", () => box.close());
  yes.addEventListener("click", async () => {
    yes.disabled = true;
    try {
      const answer = await send(path, { symbol, confirm: asked.confirm });
      box.close();
      tellUser(answer.done);
      document.dispatchEvent(new CustomEvent("assetchange", { detail: symbol }));
    } catch (error) {
      if (error.status !== 409) {
        fill(inside, words(asked), failure(error));
        return;
      }
      try { // what was shown is no longer so
        asked = await send(path, { symbol });
        fill(inside, el("p.warning", {}, "It has changed meanwhile:"), words(asked));
      } catch (refused) {
        fill(inside, failure(refused));
      }
    } finally {
      yes.disabled = false;
    }
  });
}
