"""A local exchange on loopback that unmodified Alpaca clients can talk to.

It knows nothing of who trades on it and imports nothing else of the project.
`python -m paper_exchange --help` is its manual; `server.PaperExchange` runs it inside an event
loop, `threaded.RunningExchange` inside a thread.

The rooms, from the inside out:

    decimals clock errors assets      small vocabulary
    orders order_rules fees account   what an order is, which are taken, what they cost
    matching activities market        when an order fills, what is written down, the newest prices
    exchange                          the only place where these meet and state changes
    synthetic replay market_feed      where quotes come from and at which pace
    wire rest data_rest ..._stream    the shapes and sockets of Alpaca's wire
    control server threaded           the operator's door, and the process around it all
"""
