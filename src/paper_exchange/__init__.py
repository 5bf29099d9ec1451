"""A local exchange on loopback that unmodified Alpaca clients can talk to.

It knows nothing of who trades on it and imports nothing else of the project.
`python -m paper_exchange --help` is its manual; `server.PaperExchange` runs it inside an event
loop.

The rooms, from the inside out:

    core/      orders and their rules, matching, fees, account, activities, the state file:
               what is true, with no clock but its own and no socket
    faults/    what can go wrong, and whether it does now
    quotes/    where quotes come from, at which pace, and what they were
    api/       Alpaca's shapes, the desks of its two APIs, both websockets, and what faults do there
    control    the operator's door
    server __main__   the process around it all
"""
