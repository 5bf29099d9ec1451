"""A local exchange on loopback that unmodified Alpaca clients can talk to.

It knows nothing of who trades on it and imports nothing else of the project.
`python -m paper_exchange --help` is its manual; `server.PaperExchange` runs it inside an event
loop, `threaded.RunningExchange` inside a thread.

The rooms, from the inside out:

    decimals clock errors assets          small vocabulary
    orders order_rules fees account       what an order is, which are taken, what they cost
    matching activities market            when an order fills, what is recorded, newest prices
    state admission trading_floor         where these meet: may it be placed, how does it fill
    exchange                              what clients, market and operator can do
    fault_table faults                    what can go wrong, and whether it does now
    distortion disturbance stream_faults  what that does to quotes, HTTP answers and connections
    synthetic replay market_feed          where quotes come from and at which pace
    wire rest data_rest rate_limit        Alpaca's shapes and its two HTTP APIs
    sockets data_codec ..._stream         its two websockets
    control ledger manual                 the operator's door
    server threaded __main__              the process around it all
"""
