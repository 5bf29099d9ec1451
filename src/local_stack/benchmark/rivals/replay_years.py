"""A whole backtest of all that is stored below the folder: what it needs of memory and CPU."""

from __future__ import annotations

import json
import resource
import sys
import time
from decimal import Decimal
from pathlib import Path

from replay_bot import ASSET, FEE_PERCENT, SYMBOL  # type: ignore[import-not-found]

from research.backtest import Account, Entrant, run_backtest
from research.bars import PathChoice
from research.feed import load_feed
from research.history import History
from research.market_rules import usual_rules
from research.series import Kind
from strategy.ladder import compute_ladder_usd


def main() -> None:
    begun = time.process_time()
    feed = load_feed(
        History(Path(sys.argv[1]) / "history"),
        SYMBOL,
        None,
        None,
        kind=Kind.BARS,
        spread_percent=Decimal("0.03"),
        max_jump_percent=Decimal(10),
    )
    known = usual_rules(SYMBOL, Decimal(1), feed.line.ask(0))
    account = Account(
        cash_usd=compute_ladder_usd(ASSET),
        fee_percent=Decimal(FEE_PERCENT),
        max_spread_percent=Decimal(1),
        max_jump_percent=Decimal(10),
    )
    entrants = [Entrant(asset=ASSET, known=known, feed=feed)]
    found = run_backtest(entrants, account, [PathChoice.PESSIMISTIC])
    said = {
        "bars": len(feed.series),
        "orders": len(found.runs[0].outcome.assets[0].entries),
        "cpu_seconds": time.process_time() - begun,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
