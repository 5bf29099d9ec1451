// Every crypto call of Alpaca's official Node client (4.x) against the local exchange, each on a line.
// No test of the suite: Node is not on every machine. By hand, in a folder of its own:
//
//   npm install @alpacahq/alpaca-trade-api@4.0.2
//   cp .../tests/paper_exchange/node_client.mjs .
//   .../.venv/bin/python -m paper_exchange --symbols BTC/USD,ETH/USD --ready-file ready.json &
//   node node_client.mjs ready.json
//
// Ends with code 1 when a call failed. Runs for a bit more than a minute: bars close by the minute.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// Looked for where the script stands, so that it may be copied anywhere.
const { Alpaca } = createRequire(`${process.cwd()}/`)("@alpacahq/alpaca-trade-api");

const urls = JSON.parse(readFileSync(process.argv[2], "utf8"));
const BTC = "BTC/USD";
const PAUSE = 50;

// The client has no setting for the host: its requests are sent to the local exchange instead.
const toLocal = (address, options) => {
  const { pathname, search } = new URL(address);
  return fetch(urls.trading_url + pathname + search, options);
};
const alpaca = new Alpaca({
  keyId: "local-key", secret: "local-secret", fetchApi: toLocal, rateLimit: false, retry: false,
});
const { trading, marketData } = alpaca;

let failures = 0;
async function call(name, work) {
  try {
    const result = await work();
    console.log(`ok      ${name}`);
    return result;
  } catch (error) {
    failures += 1;
    console.log(`FAILED  ${name}: ${String(error.message ?? error).split("\n")[0]}`);
    return undefined;
  }
}

async function until(condition, seconds = 10) {
  for (let waited = 0; waited < seconds * 1000; waited += PAUSE) {
    const found = await condition();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
  throw new Error(`waited ${seconds} s in vain`);
}

const status = async (order) => (await trading.orders.getOrderByOrderID({ orderId: order.id })).status;
const limit = (limitPrice, more = {}) =>
  trading.orders.limit({ symbol: BTC, qty: "0.01", side: "buy", limitPrice, timeInForce: "gtc", ...more });

// Streams: subscribed first, checked at the end.
const heard = { trade: [], quote: [], bar: [], updatedBar: [], dailyBar: [], orderbook: [], update: [] };
const data = marketData.cryptoStream({ url: urls.data_stream_url });
data.onTrade((one) => heard.trade.push(one));
data.onQuote((one) => heard.quote.push(one));
data.onBar((one) => heard.bar.push(one));
data.onUpdatedBar((one) => heard.updatedBar.push(one));
data.onDailyBar((one) => heard.dailyBar.push(one));
data.onOrderbook((one) => heard.orderbook.push(one));
data.onConnect(() => {
  data.subscribeForTrades([BTC]);
  data.subscribeForQuotes([BTC]);
  data.subscribeForBars([BTC]);
  data.subscribeForUpdatedBars([BTC]);
  data.subscribeForDailyBars([BTC]);
  data.subscribeForOrderbooks([BTC]);
});
data.connect();
const updates = trading.stream({ url: urls.trading_stream_url });
updates.onTradeUpdate((one) => heard.update.push(one));
updates.onConnect(() => updates.subscribeTradeUpdates());
updates.connect();
await call("stream: quotes", () => until(() => heard.quote.length > 1));
await call("stream: trades", () => until(() => heard.trade.length > 1));
await call("stream: orderbooks", () => until(() => heard.orderbook.length > 1));

// Account.
await call("validateConnection", async () => assert.ok((await trading.validateConnection()).ok));
await call("account.getAccount", async () =>
  assert.equal((await trading.account.getAccount()).status, "ACTIVE"));
await call("accountConfigurations.getAccountConfig", async () =>
  assert.equal((await trading.accountConfigurations.getAccountConfig()).suspendTrade, false));
await call("accountConfigurations.patchAccountConfig", async () => {
  const accountConfigurations = { noShorting: true };
  const changed = await trading.accountConfigurations.patchAccountConfig({ accountConfigurations });
  assert.equal(changed.noShorting, true);
});
await call("clock.legacyClock", async () => assert.ok((await trading.clock.legacyClock()).isOpen));
await call("assets.getV2Assets", async () => {
  const found = await trading.assets.getV2Assets({ assetClass: "crypto" });
  assert.ok(found.some((one) => one.symbol === BTC));
});
await call("assets.getV2AssetsSymbolOrAssetId BTC/USD", async () =>
  assert.equal((await trading.assets.getV2AssetsSymbolOrAssetId({ symbolOrAssetId: BTC })).symbol, BTC));

// Orders.
const market = await call("orders.market", () =>
  trading.orders.market({ symbol: BTC, qty: "0.1", side: "buy", timeInForce: "gtc" }));
await call("orders.getOrderByOrderID", () => until(async () => (await status(market)) === "filled"));
const resting = await call("orders.limit", () => limit("10000", { clientOrderId: `node-${Date.now()}` }));
await call("orders.getOrderByClientOrderId", async () => {
  const found = await trading.orders.getOrderByClientOrderId({ clientOrderId: resting.clientOrderId });
  assert.equal(found.id, resting.id);
});
await until(async () => (await status(resting)) === "new");
const newer = await call("orders.patchOrderByOrderId", () =>
  trading.orders.patchOrderByOrderId({ orderId: resting.id, patchOrderRequest: { limitPrice: "11000" } }));
await call("orders.stopLimit", () => trading.orders.stopLimit({
  symbol: BTC, qty: "0.01", side: "buy", stopPrice: "90000", limitPrice: "90001", timeInForce: "gtc",
}));
await call("orders.market notional", () =>
  trading.orders.market({ symbol: "ETH/USD", notional: "50.5", side: "buy", timeInForce: "ioc" }));
await call("orders.getAllOrders symbols", async () => {
  const found = await trading.orders.getAllOrders({ status: "all", symbols: BTC, assetClass: ["crypto"] });
  assert.ok(found.length >= 4 && found.every((one) => one.symbol === BTC));
});
await call("orders.getAllOrders beforeOrderId", async () => {
  const found = await trading.orders.getAllOrders({ status: "all", beforeOrderId: resting.id });
  assert.deepEqual(found.map((one) => one.id), [market.id]);
});
await until(async () => (await status(newer)) === "new");
await call("orders.deleteOrderByOrderID", async () => {
  await trading.orders.deleteOrderByOrderID({ orderId: newer.id });
  await until(async () => (await status(newer)) === "canceled");
});
await call("orders.deleteAllOrders", () => trading.orders.deleteAllOrders());
await call("a refusal is a ValidationError", () =>
  assert.rejects(trading.orders.market({ symbol: BTC, qty: "0.1", side: "buy", timeInForce: "day" }), (error) =>
    error.status === 422 && error.code === 42210000));

// Positions and what they earned.
await call("positions.getAllOpenPositions", () => until(async () =>
  (await trading.positions.getAllOpenPositions()).some((one) => one.symbol === "BTCUSD")));
await call("positions.getOpenPosition", async () =>
  assert.equal((await trading.positions.getOpenPosition({ symbolOrAssetId: "BTCUSD" })).symbol, "BTCUSD"));
await call("positions.deleteOpenPosition percentage", async () => {
  const sold = await trading.positions.deleteOpenPosition({ symbolOrAssetId: "BTCUSD", percentage: 50 });
  await until(async () => (await status(sold)) === "filled");
});
await call("positions.deleteOpenPosition qty", async () => {
  const sold = await trading.positions.deleteOpenPosition({ symbolOrAssetId: "BTCUSD", qty: 0.01 });
  await until(async () => (await status(sold)) === "filled");
});
await call("closeAllPositions", async () => {
  const closed = await trading.closeAllPositions({ cancelOrders: true });
  assert.ok(closed.length >= 1 && closed.every((one) => one.status === 200));
});
const activities = trading.accountActivities;
await call("accountActivities.getAccountActivities", async () =>
  assert.ok((await activities.getAccountActivities({ category: "trade_activity" })).length > 2));
await call("accountActivities.getAccountActivitiesByActivityType", async () =>
  assert.ok((await activities.getAccountActivitiesByActivityType({ activityType: "FILL" })).length > 2));
await call("portfolioHistory.getAccountPortfolioHistory", async () => {
  const found = await trading.portfolioHistory.getAccountPortfolioHistory({ period: "1D", timeframe: "1Min" });
  assert.equal(found.timestamp.length, found.equity.length);
});
await call("stream: trade updates", () => until(() =>
  ["new", "fill", "canceled", "replaced"].every((kind) => heard.update.some((one) => one.event === kind))));
await call("submitAndWait", async () => {
  const order = { type: "market", symbol: BTC, qty: "0.01", side: "buy", timeInForce: "gtc" };
  const done = await trading.submitAndWait(order, { timeoutMs: 10_000, stream: updates });
  assert.equal(done.status, "filled");
});

// Market data.
const start = new Date(Date.now() - 3_600_000);
for (const kind of ["Bars", "Quotes", "Trades", "Orderbooks"]) {
  await call(`crypto.cryptoLatest${kind}`, async () => {
    const found = await marketData.crypto[`cryptoLatest${kind}`]({ loc: "us", symbols: BTC });
    assert.ok(found[kind.toLowerCase()][BTC]);
  });
}
await call("crypto.cryptoSnapshots", async () => {
  const found = await marketData.crypto.cryptoSnapshots({ loc: "us", symbols: `${BTC},ETH/USD` });
  assert.ok(found.snapshots[BTC].latestQuote.bp > 0);
});
for (const kind of ["Quotes", "Trades"]) {
  await call(`crypto.crypto${kind}`, async () => {
    const found = await marketData.crypto[`crypto${kind}`]({ loc: "us", symbols: BTC, start, limit: 3 });
    assert.ok(found[kind.toLowerCase()][BTC].length === 3 && found.nextPageToken);
  });
  await call(`getCrypto${kind} (pages)`, () => until(async () => {
    const symbols = [BTC, "ETH/USD"];
    const found = await marketData[`getCrypto${kind}`]({ loc: "us", symbols, start, limit: 7 });
    return symbols.every((symbol) => found[symbol].length > 7);
  }));
}
await call("iterateCryptoQuotes", async () => {
  let count = 0;
  for await (const _ of marketData.iterateCryptoQuotes({ loc: "us", symbols: [BTC], start, limit: 2 })) count += 1;
  assert.ok(count > 4);
});
await call("stream: bars, daily bars", () => until(() => heard.bar.length && heard.dailyBar.length, 65));
await call("stream: updated bars", () => until(() => heard.updatedBar.length, 35));
await call("crypto.cryptoBars", async () => {
  const found = await marketData.crypto.cryptoBars({ loc: "us", symbols: BTC, timeframe: "1Min", start });
  assert.ok(found.bars[BTC].length >= 1);
});
await call("getCryptoBars, getCryptoCandles", async () => {
  const wanted = { loc: "us", symbols: [BTC], timeframe: "1Day", start: new Date(Date.now() - 3 * 86_400_000) };
  assert.ok((await marketData.getCryptoBars(wanted))[BTC].length >= 1);
  assert.ok(await marketData.getCryptoCandles(wanted));
});
updates.disconnect();
data.disconnect();

console.log(failures ? `${failures} calls failed` : "every call works");
process.exit(failures ? 1 : 0);
