// Small parts that several pages have.

import { el, icon, say } from "./dom.js";

export const OLD_SECONDS = 60; // a quote that is older is named

const STATES = ["watching", "buying", "selling", "error"];

/** The state of a row as a mark: its word, and a colour that says no more than the word. */
export function showState(mark, row) {
  const kind = row.problem ? "error" : row.held_back || row.waiting ? "held" : STATES.includes(row.state) ? row.state : "";
  mark.className = `mark ${kind}`;
  say(mark, row.state ?? "no cycle");
}

/** What else the state says: `safety 2/5` of `watching, safety 2/5`. */
export function stateDetail(row) {
  return row.state_words?.startsWith(`${row.state}, `) ? row.state_words.slice(row.state.length + 2) : "";
}

/** Buttons of which one is pressed: `[[name, words]]`. */
export function pickButtons(label, choices, chosen, picked) {
  const group = el("div.choice", { role: "group", "aria-label": label });
  const press = (name) => {
    for (const one of group.children) one.setAttribute("aria-pressed", String(one.dataset.name === name));
  };
  for (const [name, words] of choices) {
    const button = el("button", { type: "button", onclick: () => { press(name); picked(name); } }, words);
    button.dataset.name = name;
    group.append(button);
  }
  press(chosen);
  return group;
}

/** A labelled field. `control`: an input or a select. */
export function field(id, words, control, hint = null) {
  control.id = id;
  if (hint) control.setAttribute("aria-describedby", `${id}-hint`);
  return el("div.field", {}, el("label", { for: id }, words), control, hint ? el("span.hint", { id: `${id}-hint` }, hint) : null);
}

export function select(choices, chosen = "") {
  const made = el("select", {}, choices.map(([value, words]) => el("option", { value }, words)));
  made.value = chosen;
  return made;
}

export function note(words, isRefusal = false) {
  return el(isRefusal ? "p.note.refused" : "p.note", {}, icon(isRefusal ? "error" : "warning"),
    el("span", {}, el("span.unseen", {}, isRefusal ? "Refused: " : "Warning: "), words));
}

/** `f` at most once until it is over; the newest call waits, those between are left out. */
export function latest(work) {
  let isBusy = false, waiting = null;
  const run = async (...given) => {
    if (isBusy) {
      waiting = given;
      return;
    }
    isBusy = true;
    try {
      await work(...given);
    } finally {
      isBusy = false;
      if (waiting) {
        const next = waiting;
        waiting = null;
        run(...next);
      }
    }
  };
  return run;
}
