"""A local exchange on loopback that unmodified Alpaca clients can talk to.

It imports nothing else of the project. `python -m paper_exchange --help` is its manual;
`server.PaperExchange` runs it inside an event loop.

    faults/    every fault there is, and which are armed
    core/      orders and their rules, matching, fees, account, activities, history, the state file;
               no socket, no JSON
    quotes/    where quotes come from, and at which pace
    api/       Alpaca's shapes, the routes of its two APIs, both websockets, the faults of each
    control    the operator's calls
    server __main__   the process
"""
