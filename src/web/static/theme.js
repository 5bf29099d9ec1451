// Dark, light, or as the system has it; kept in this browser.

import { fill, icon } from "./dom.js";

const KEY = "dca-theme";
const ORDER = ["auto", "light", "dark"];
const SIGNS = { auto: "auto", light: "sun", dark: "moon" };

function kept() {
  try {
    const found = localStorage.getItem(KEY);
    return ORDER.includes(found) ? found : "auto";
  } catch {
    return "auto"; // storage is switched off
  }
}

function keep(name) {
  try {
    localStorage.setItem(KEY, name);
  } catch {
    // it holds until the page is left
  }
}

export function begin(button) {
  let chosen = kept();
  const system = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    if (chosen === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    const words = `Colours: ${chosen === "auto" ? "as the system" : chosen}`;
    button.title = words;
    button.setAttribute("aria-label", words);
    fill(button, icon(SIGNS[chosen]));
    document.dispatchEvent(new Event("themechange"));
  };
  button.addEventListener("click", () => {
    chosen = ORDER[(ORDER.indexOf(chosen) + 1) % ORDER.length];
    keep(chosen);
    show();
  });
  system.addEventListener("change", () => document.dispatchEvent(new Event("themechange")));
  show();
}

/** A colour of the sheet as the browser resolves it now: what is drawn on a canvas needs it so. */
export function colour(name) {
  const probe = document.createElement("i");
  probe.hidden = true;
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}
