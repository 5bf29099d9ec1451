"""What integration_test.py is made of: the tests of the plan's phases, and the world they act on.

report       what a person reads while it runs
market       prices that a test may move (local exchange only)
processes    main_app.py and the cron scripts, run as a user runs them
run          the name of what one test opens
world        one account, one database, one symbol, and what the tests do with them
cleanup      takes back what a test opened: orders, coins, rows, processes
opening      builds the world and refuses where a test could do harm
phases_*     the tests
"""
