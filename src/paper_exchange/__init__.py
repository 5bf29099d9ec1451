"""A local exchange on loopback that unmodified Alpaca clients can talk to.

It knows nothing of who trades on it and imports nothing else of the project.
`python -m paper_exchange --help` is its manual; `server.PaperExchange` runs it inside an event
loop, `threaded.RunningExchange` inside a thread.

The rooms, from the inside out:

    decimals clock errors assets          small vocabulary
    orders order_rules fees account       what an order is, which are taken, what they cost
    matching activities market            when an order fills, what is recorded, newest prices
    history equity profile                what was: prices, the account's worth; its settings
    state admission trading_floor         where these meet: may it be placed, how does it fill
    records journal                       the state file
    exchange                              what clients, market and operator can do
    fault_table faults                    what can go wrong, and whether it does now
    distortion disturbance stream_faults  what that does to quotes, HTTP answers and connections
    synthetic replay market_feed          where quotes come from and at which pace
    wire data_wire                        Alpaca's shapes
    http_json query rate_limit            what a request says, and how many there may be
    order_ position_ account_rest,        the desks of the trading API,
    portfolio, rest, data_rest            that API, and the market data's
    sockets data_codec ..._stream         its two websockets
    control ledger manual                 the operator's door
    server threaded __main__              the process around it all
"""
