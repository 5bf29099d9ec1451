"""The manual of the control API and of the faults, as --help prints it."""

from paper_exchange.faults.table import manual as fault_manual

MANUAL = """\
what it answers (all else is refused, and so is any parameter or field it does not know):
  /v2/account, its configurations (suspend_trade stops new orders), activities, portfolio/history
  /v2/orders (create, list, one, by client id, replace, cancel one and all), /v2/positions (list,
  one, close one by qty or percentage, close all), /v2/assets, /v2/clock
  /v1beta3/crypto/us: latest and historical quotes, trades, bars (in pages; nothing from before the
  start), latest/orderbooks (one level), snapshots
  data stream: quotes, trades, bars, updatedBars, dailyBars, orderbooks; trading stream:
  trade_updates

control API (JSON, no keys; numbers may be JSON numbers or strings):
  GET  /control/state       market, newest quotes, balances, open orders, clients, requests, config
  GET  /control/ledger      all orders, executions, activities, balances: the exchange's own records
  POST /control/quote       {"symbol":"BTC/USD","bid":60000,"ask":60010,"bid_size":1,"ask_size":1}
                            or {"quotes":[{...},...]}. First waits like finish, unless it has
                            "finish":false; returns when orders are matched and frames queued
  POST /control/market      {"paused":true|false,"speed":10}   either or both; 0: no pauses
  POST /control/finish      {"timeout_seconds":2}   waits until no step of an order (new, match,
                            cancel) is under way
  POST /control/end_of_day  {}   posts the fees taken since the last time as CFEE/FEE activities,
                            and late ones (fee_late, fee_split) whose time has come
  POST /control/balance     {"unit":"USD"|"BTC/USD","set":"5"} or {"unit":...,"add":"-0.1"};
                            "price" optional: entry price of a new position. It sends no event
  POST /control/config      {"latency_seconds":0.005,"partial_fill_probability":0.1,
                            "duplicate_ids_refused":true,"symbols_filter":"pair"|"joined"|"both",
                            "rate_limit_per_minute":200}   any of them
  POST /control/order       {"order_id":"..."|"client_order_id":"...",
                            "action":"expire"|"reject"|"cancel"}   at once, whatever its state
  GET  /control/faults      those armed, how often each applied, the last 1000 times with facts
  POST /control/faults      {"name":"drop_update","count":1,"match":{"event":"fill"}}
                            or {"faults":[{...},...]} or {"clear":true|"fault-1"|"drop_update"}.
                            count: how often it applies (default: until cleared); probability:
                            of each time (default 1); match: a pattern for a fact (* and ?), or a
                            list of patterns; and the parameters of the fault
  POST /control/shutdown    {}

faults (all off by default), in brackets their parameters and the defaults:
{FAULTS}
""".replace("{FAULTS}", fault_manual())
