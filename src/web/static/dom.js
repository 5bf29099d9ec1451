// Makes elements and changes them. Text goes in as text: nothing here, or anywhere, sets HTML.

const SVG = "http://www.w3.org/2000/svg";

const ICONS = {
  ok: "M4 10.5l4 4 8-9",
  warning: "M10 3l8 14H2z M10 8v4 M10 14.6v.4",
  error: "M5 5l10 10 M15 5L5 15",
  pause: "M7 4v12 M13 4v12",
  play: "M6 4l10 6-10 6z",
  sun: "M10 6.5a3.5 3.5 0 1 0 0 7a3.5 3.5 0 1 0 0-7 M10 1.5v2 M10 16.5v2 M1.5 10h2 M16.5 10h2 M4 4l1.4 1.4 M14.6 14.6L16 16 M4 16l1.4-1.4 M14.6 5.4L16 4",
  moon: "M16.5 12.5A7 7 0 0 1 7.5 3.5a7 7 0 1 0 9 9z",
  auto: "M10 3a7 7 0 1 0 0 14z M10 3a7 7 0 0 1 0 14",
  up: "M10 16V4 M5 9l5-5 5 5",
  down: "M10 4v12 M5 11l5 5 5-5",
  info: "M10 9v6 M10 5.5v.4",
  away: "M3 3l14 14 M6 9a6 6 0 0 1 2-1.2 M12 7.8a6 6 0 0 1 2.2 1.3 M10 15v.2",
};

/**
 * `el("td.num", {title: "x", onclick: f}, "text", node)`: attributes as text, `on...` as listeners,
 * true and false as boolean attributes; null and undefined are left out, among the children too.
 */
export function el(spec, attributes = {}, ...children) {
  const [tag, ...classes] = spec.split(".");
  const node = document.createElement(tag || "div");
  if (classes.length) node.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

/** A drawn sign; it says nothing by itself, the words stand beside it. */
export function icon(name, spec = "icon") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("class", `${spec} ${spec}-${name}`);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** Changes the text only where it differs, so that what is read aloud or marked stays. */
export function say(node, text) {
  const wanted = text ?? "";
  if (node.textContent !== wanted) node.textContent = wanted;
}

export function fill(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
}

export function toggle(node, name, is) {
  node.classList.toggle(name, Boolean(is));
}

/**
 * The rows of `body`, one for each of `items`, kept by their key: `make(item)` gives a new row,
 * `change(row, item)` brings it up to date. Focus and place stay where they are.
 */
export function keyed(body, items, key, make, change) {
  const old = new Map([...body.children].map((row) => [row.dataset.key, row]));
  let place = body.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let row = old.get(name);
    old.delete(name);
    if (!row) {
      row = make(item);
      row.dataset.key = name;
    }
    change(row, item);
    if (row === place) place = place.nextElementSibling;
    else body.insertBefore(row, place);
  }
  for (const row of old.values()) row.remove();
}

/** A table that scrolls in itself where it is wider than the page. `columns`: title, or [title, "num"]. */
export function table(caption, columns, rows, spec = "") {
  const heads = columns.map((one) => {
    const [title, kind] = Array.isArray(one) ? one : [one, ""];
    return el(kind ? `th.${kind}` : "th", { scope: "col" }, title);
  });
  const lines = rows.map((cells) =>
    el("tr", {}, cells.map((cell, at) => {
      const kind = Array.isArray(columns[at]) ? columns[at][1] : "";
      if (cell instanceof Element && cell.tagName === "TD") return cell;
      if (kind === "title") return el("th.title", { scope: "row" }, cell ?? "-");
      return el(kind ? `td.${kind}` : "td", { "data-label": title(columns[at]) }, cell ?? "-");
    })));
  const made = el(`table${spec}`, {},
    el("caption.unseen", {}, caption),
    el("thead", {}, el("tr", {}, heads)), el("tbody", {}, lines));
  return el("div.scroll", { tabindex: "0", role: "region", "aria-label": caption }, made);
}

function title(column) {
  return Array.isArray(column) ? column[0] : column;
}

/** What stands where there is nothing (yet), or where it failed. */
export function loading(words = "Loading") {
  return el("div.skeleton", { role: "status", "aria-label": words }, el("i"), el("i"), el("i"));
}

export function empty(words, ...more) {
  return el("p.empty", {}, words, ...more);
}

export function failure(error, again = null) {
  return el("div.failure", { role: "alert" },
    icon("error"), el("div", {},
      el("p", {}, error.message),
      error.cure ? el("p.quiet", {}, error.cure) : null,
      again ? el("button", { type: "button", onclick: again }, "Try again") : null));
}
