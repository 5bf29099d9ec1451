// Adds or edits an asset: the values, then the same preview and refusals as scripts/assets, then save.

import { send } from "./api.js";
import { openDialog, tellUser } from "./dialogs.js";
import { el, failure, fill, loading, table } from "./dom.js";
import { coins, percent, price, signedUsd, time, tone, usd } from "./format.js";
import { GROUPS, typed, wordsOfColumn } from "./options.js";
import { field, note, select } from "./parts.js";

/**
 * Opens the form. `asset`: as the server gives it, null for a new one; `wanted`: options that are
 * changed already (from a try), with which the preview is shown at once.
 */
export function editAsset(asset, wanted = {}, symbol = null) {
  const isNew = asset === null;
  const inputs = new Map();
  const name = el("input", { value: symbol ?? "", placeholder: "BTC/USD", required: true, autocomplete: "off", spellcheck: "false" });
  const shown = el("div", { "aria-live": "polite" });
  const save = el("button.main", { type: "submit", value: "save" }, isNew ? "Add it" : "Save these changes");
  const look = el("button", { type: "submit", value: "look" }, "Preview");
  const cancel = el("button", { type: "button" }, "Cancel");
  let ready = null;
  save.hidden = true;

  const fields = GROUPS.map(([title, options]) => el("fieldset", {}, el("legend", {}, title),
    el("div.fields", {}, options.map(([option, column, words, hint]) => {
      const before = isNew ? "" : typed(asset[column]);
      const control = Array.isArray(hint)
        ? select([...(isNew ? [["", "usual"]] : []), ...hint.map((one) => [one, one])], before)
        : el("input", { autocomplete: "off", inputmode: hint.endsWith("off") ? "text" : "decimal", placeholder: isNew ? "usual" : before });
      control.value = wanted[option] ?? before;
      const made = field(`option-${option}`, words, control, Array.isArray(hint) ? null : hint);
      inputs.set(option, { control, before, made });
      const mark = () => made.classList.toggle("changed", control.value.trim() !== before);
      control.addEventListener("input", () => { mark(); stale(); });
      mark();
      return made;
    }))));

  const form = el("form", { novalidate: true },
    el("div.inside", {}, isNew ? field("option-symbol", "Symbol", name, "a pair in USD") : null, fields, shown),
    el("div.actions", {}, cancel, look, save));
  const box = openDialog(isNew ? "Add an asset" : `Edit ${asset.asset_symbol}`, form);
  cancel.addEventListener("click", () => box.close());
  name.addEventListener("input", stale);

  function stale() {
    if (!ready) return;
    ready = null;
    save.hidden = true;
    look.classList.add("main");
  }

  function changes() {
    const found = {};
    for (const [option, { control, before }] of inputs) {
      const value = control.value.trim();
      if (value !== before) found[option] = value === "" ? "off" : value;
    }
    return found;
  }

  async function preview() {
    const request = { symbol: isNew ? name.value.trim() : asset.asset_symbol, is_new: isNew, changes: changes() };
    fill(shown, loading("Asking the exchange"));
    look.disabled = true;
    try {
      const answer = await send("preview", request);
      ready = answer.confirm ? { ...request, confirm: answer.confirm } : null;
      fill(shown, previewParts(answer));
      save.hidden = !ready;
      look.classList.toggle("main", !ready);
      shown.scrollIntoView({ block: "nearest" });
      if (ready) save.focus({ preventScroll: true });
    } catch (error) {
      fill(shown, failure(error));
      shown.scrollIntoView({ block: "nearest" });
    } finally {
      look.disabled = false;
    }
  }

  async function apply() {
    save.disabled = true;
    try {
      const answer = await send("apply", ready);
      box.close();
      tellUser(answer.done);
      document.dispatchEvent(new CustomEvent("assetchange", { detail: ready.symbol }));
    } catch (error) {
      if (error.status === 409) {
        await preview();
        shown.prepend(note(`${error.message} This is how it is now.`));
      } else {
        fill(shown, failure(error));
      }
    } finally {
      save.disabled = false;
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (event.submitter?.value === "save" && ready) apply();
    else preview();
  });
  look.classList.add("main");
  if (Object.keys(wanted).length) preview();
  return box;
}

function previewParts(answer) {
  const changed = Object.entries(answer.changes ?? {});
  const { account } = answer;
  return el("div.columns", {},
    el("h2", {}, "Preview"),
    (answer.refusals ?? []).map((words) => note(words, true)),
    (answer.warnings ?? []).map((words) => note(words)),
    changed.length ? table("What changes", ["Value", ["now", "num"], ["then", "num"]],
      changed.map(([column, [before, after]]) => [wordsOfColumn(column), typed(before), el("b", {}, typed(after))])) : null,
    account ? el("p", {}, "All enabled ladders together can need ", el("b", {}, `${usd(account.needed_usd)} USD`),
      `; the account has ${usd(account.spendable_usd)} USD to spend (${answer.money}).`) : null,
    answer.rest_of_open_cycle ? planTable("The rest of the open cycle", answer.rest_of_open_cycle) : null,
    answer.plan ? planTable("A whole cycle", answer.plan) : null,
    answer.quoted_at ? el("p.quiet.small", {}, "At the prices of ", time(answer.quoted_at), ".") : null);
}

/** Each order of a plan, and what a sale after it would earn. */
export function planTable(caption, plan) {
  const rows = plan.orders.map((one) => {
    const sale = one.after?.sale;
    const profit = sale?.net_profit_usd ?? null;
    return [
      one.number === 0 ? "base" : `safety ${one.number}`, price(one.trigger_price), one.number === 0 ? "-" : percent(-Number(one.down_percent)),
      usd(one.size_usd), coins(one.qty), price(one.after?.average_price), price(sale?.price),
      el("span", { class: tone(profit) }, signedUsd(profit)),
    ];
  });
  const shown = table(caption, ["Order", ["comes at", "num"], ["down", "num"], ["USD", "num"], ["coins", "num"],
    ["average", "num"], ["sells at", "num"], ["earns", "num"]], rows);
  return el("section", {}, el("div.head", {}, el("h3", {}, caption), el("span.quiet.small", {}, `needs ${usd(plan.capital_usd)} USD`)),
    rows.length ? shown : el("p.quiet", {}, "No order is left to come."),
    plan.ends_early_because ? note(plan.ends_early_because) : null);
}

