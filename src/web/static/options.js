// The options of an asset: the names of scripts/assets, the columns they change, and their words.

export const GROUPS = [
  ["Ladder", [
    ["base", "base_order_amount", "Base order", "USD"],
    ["safety", "safety_order_amount", "Safety order", "USD"],
    ["max_safety", "max_safety_orders", "Safety orders at most", "count"],
    ["deviation", "safety_order_deviation", "Deviation", "% below the last fill"],
    ["volume_scale", "safety_order_volume_scale", "Volume scale", "each costs so many times the last"],
    ["step_scale", "safety_order_step_scale", "Step scale", "each step is so many times the last"],
    ["reference", "safety_order_reference", "Deviations are below", ["last-fill", "base-order"]],
  ]],
  ["Sale", [
    ["take_profit", "take_profit_percent", "Take profit", "% above the average"],
    ["fee_aware", "take_profit_fee_percent", "Fees on top", "% a side; off"],
    ["trailing", "trailing_take_profit_percent", "Trailing", "% below the peak; off"],
    ["stop_loss", "stop_loss_percent", "Stop loss", "% below the average; off"],
    ["stop_loss_seconds", "stop_loss_seconds", "Stop loss after", "seconds below"],
    ["stop_loss_action", "stop_loss_action", "After a stop loss", ["disable", "cooldown"]],
  ]],
  ["Start of a cycle", [
    ["cooldown", "cooldown_period", "Cooldown", "seconds after a sale"],
    ["early_restart", "buy_order_price_deviation_percent", "Early restart", "% below the last sale; off"],
    ["start", "start_mode", "Start", ["at-once", "manual"]],
    ["max_entry", "max_entry_price", "Base order at most at", "USD; off"],
  ]],
];

export const OPTIONS = GROUPS.flatMap(([, options]) => options);

const COLUMN_WORDS = new Map(OPTIONS.map(([, column, words]) => [column, words]));

export function wordsOfColumn(column) {
  return COLUMN_WORDS.get(column) ?? column.replaceAll("_", " ");
}

export function wordsOf(option) {
  return OPTIONS.find(([name]) => name === option)?.[2] ?? option.replaceAll("_", " ");
}

/** A saved value as it is typed: `off` for none, `last-fill` for `last_fill`. */
export function typed(value) {
  if (value === null || value === undefined) return "off";
  return /^[a-z_]+$/.test(String(value)) ? String(value).replaceAll("_", "-") : String(value);
}
