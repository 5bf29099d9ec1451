"""`scripts/report`: every figure of it, computed a second time from the exchange's own records."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from bot_parts import BotParts
from builders import build_entry, build_order
from caretakers.fee_settlement import write_fees
from caretakers.plans.fee_matching import FeeRates
from caretakers.plans.fee_settlement import plan_fee_settlements
from cli import report as report_command
from domain.cycle import CycleStatus
from domain.fee_activity import Execution, FeeActivity
from domain.journal import CycleJournal, Purpose
from models.asset_config import get_asset_by_id
from models.cycle_data import create_cycle, get_latest_cycle, update_cycle
from models.cycle_journals import load_cycle_journals
from models.order_journal import append_journal_entry, get_entries_ended_since
from models.realised_profit import get_realised_profits
from operations.refused import Refused
from operations.time_ranges import read_moment
from performance.capital import CapitalCurve, CapitalUse
from performance.cycle_results import CapitalStep, compute_capital_steps, compute_figures
from performance.report import By, compute_report
from said import Said, runner
from utils.alpaca_client_rest import get_trading_client
from utils.alpaca_queries import fetch_orders
from utils.db_utils import execute_query
from utils.formatting import ESTIMATE_LEGEND, usd

D = Decimal
# Fees are posted for a day, not for an order: a coin fee that was rounded up is shared by its day.
FEE_SHARE = "0.0002"
PNG_START = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def report(settings, db_conn, capsys) -> Callable[..., Said]:
    """Run `scripts/report` in this process."""
    return runner(report_command.main, capsys)


@pytest.fixture
async def traded(settings, exchange, db_conn, make_asset) -> BotParts:
    """Five cycles of two assets: two won, one closed by the user at a loss, two open.

    With safety orders, a sale that takes two orders, and posted fees.
    """
    parts = BotParts(settings, exchange)
    for symbol in ("BTC/USD", "ETH/USD"):
        create_cycle(db_conn, make_asset(symbol, cooldown_period=0).id, "watching")

    async def see(symbol: str, bid: float) -> None:
        await parts.see(parts.quote_both(bid, bid * 1.0001, symbol))
        parts.sweep()

    def again(symbol: str) -> None:
        [asset_id] = {
            e.asset_id for e in get_entries_ended_since(db_conn, EPOCH) if e.symbol == symbol
        }
        cycle = get_latest_cycle(db_conn, asset_id)
        assert cycle.status is CycleStatus.COOLDOWN, "the cycle before it is complete"
        update_cycle(db_conn, cycle.id, {"status": "watching"})

    await see("BTC/USD", 50000)
    await see("ETH/USD", 2500)
    await see("BTC/USD", 49000)
    await see("ETH/USD", 2440)
    await see("BTC/USD", 51000)
    await see("ETH/USD", 2400)
    again("BTC/USD")
    await see("BTC/USD", 50500)
    exchange.arm("rest_after_part", match={"side": "sell"}, fraction=0.4, count=1)
    await see("ETH/USD", 2600)
    for order in parts.orders("open"):
        exchange.cancel(order.id)
    exchange.clear_faults()
    parts.sweep()
    await see("ETH/USD", 2601)
    again("ETH/USD")
    cycle = get_latest_cycle(db_conn, asset_of(db_conn, "BTC/USD"))
    update_cycle(db_conn, cycle.id, {"close_requested": True})
    exchange.push_quote("BTC/USD", 45000, 45001)
    await parts.see()
    parts.sweep()
    again("BTC/USD")
    await see("ETH/USD", 2605)
    await see("BTC/USD", 45600)
    exchange.end_of_day()
    yield parts
    await parts.market.stop()


EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


def asset_of(db_conn, symbol: str) -> int:
    row = execute_query(
        "SELECT id FROM dca_assets WHERE asset_symbol = %s",
        (symbol,),
        fetch_one=True,
        db_conn=db_conn,
    )
    return row["id"]


def activities(kind: str) -> list[dict[str, Any]]:
    return get_trading_client().get(
        f"/account/activities/{kind}", {"direction": "asc", "page_size": 100}
    )


def settle(db_conn) -> None:
    """What consistency_checker does on the next morning."""
    raw = activities("CFEE") + activities("FEE")
    posted = [fee for one in raw if (fee := FeeActivity.from_wire(one)) is not None]
    fills = [Execution.from_wire(one) for one in activities("FILL")]
    tomorrow = datetime.now(UTC) + timedelta(days=2)
    rates = FeeRates(D("0.0025"), D("0.0015"))
    entries = get_entries_ended_since(db_conn, EPOCH)
    for plan in plan_fee_settlements(entries, posted, fills, now=tomorrow, rates=rates):
        write_fees(db_conn, plan)


class FromTheExchange:
    """The figures once more, from FILL, CFEE and FEE alone; the client ids name the cycle."""

    def __init__(self) -> None:
        orders = fetch_orders(get_trading_client(), status="all")
        names = {order.id: order.client_order_id for order in orders}
        ends = {order.id: order.ended_at for order in orders}
        self.cycles: dict[int, list[dict[str, Any]]] = {}
        for fill in activities("FILL"):
            cycle_id = int(re.fullmatch(r"dca-(\d+)-\w{8}-\d+", names[fill["order_id"]])[1])
            at = datetime.fromisoformat(
                re.sub(r"(\.\d{6})\d*Z?$", r"\1+00:00", fill["transaction_time"])
            )
            one = {
                "symbol": fill["symbol"],
                "side": fill["side"],
                "order": fill["order_id"],
                "at": at,
            }
            one |= {"qty": D(fill["qty"]), "price": D(fill["price"])}
            one["ended"] = ends[fill["order_id"]]  # a partial fill is booked when its order ends
            self.cycles.setdefault(cycle_id, []).append(one)
        # A cycle that has sold what the fees left of its coins is complete.
        self.complete = {
            cycle_id: fills for cycle_id, fills in self.cycles.items()
            if self.coins(fills, "sell") > self.coins(fills, "buy") * D("0.99")
        }  # fmt: skip
        self.sale_fees = sum(-D(one["net_amount"]) for one in activities("FEE"))
        self.coin_fees = {
            (one["symbol"], D(one["price"])): -D(one["qty"]) * D(one["price"])
            for one in activities("CFEE")
        }

    def coins(self, fills, side) -> Decimal:
        return sum((f["qty"] for f in fills if f["side"] == side), D(0))

    def usd(self, fills, side) -> Decimal:
        return sum((f["qty"] * f["price"] for f in fills if f["side"] == side), D(0))

    def fills(self, symbol: str | None = None) -> list[dict[str, Any]]:
        return [
            fill for fills in self.complete.values() for fill in fills
            if symbol in (None, fill["symbol"])
        ]  # fmt: skip

    def coin_fees_usd(self, fills) -> Decimal:
        return sum(
            (
                self.coin_fees[f["symbol"].replace("/", ""), f["price"]]
                for f in fills
                if f["side"] == "buy"
            ),
            D(0),
        )

    def holding_seconds(self, fills) -> float:
        """From the end of the first order to the last fill."""
        first = next(f["order"] for f in fills if f["side"] == "buy")
        opened = max(f["at"] for f in fills if f["order"] == first)
        return (max(f["at"] for f in fills) - opened).total_seconds()

    def safety_orders(self, fills) -> int:
        return len({f["order"] for f in fills if f["side"] == "buy"}) - 1

    def capital(self, symbol: str | None, start: datetime, end: datetime) -> tuple[float, Decimal]:
        """Mean and peak, counted moment by moment: what each open cycle had paid and not sold."""
        moments = sorted(
            {start, end, *(f["ended"] for fills in self.cycles.values() for f in fills)}
        )
        area, peak = 0.0, D(0)
        for begin, until in pairwise(moments):
            bound = D(0)
            for cycle_id, fills in self.cycles.items():
                if symbol in (None, fills[0]["symbol"]):
                    bound += self._bound(cycle_id, fills, begin)
            area += float(bound) * (until - begin).total_seconds()
            peak = max(peak, bound)
        return area / (end - start).total_seconds(), peak

    def _bound(self, cycle_id: int, fills, moment: datetime) -> Decimal:
        past = [f for f in fills if f["ended"] <= moment]
        if cycle_id in self.complete and len(past) == len(fills):
            return D(0)
        bought, sold = self.coins(past, "buy"), self.coins(past, "sell")
        return self.usd(past, "buy") * (bought - sold) / bought if bought else D(0)


def close(first: object, second: object, tolerance: str = "0.000001") -> bool:
    return abs(D(str(first)) - D(str(second))) <= D(tolerance)


async def test_every_figure_follows_from_the_exchanges_own_activities(traded, report, db_conn):
    assert report("--json").json["total"]["fees_are_estimated"] is True
    settle(db_conn)
    truth = FromTheExchange()
    assert len(truth.cycles) == 5
    assert len(truth.complete) == 3

    by_cycle = report("--by", "cycle", "--json").json
    lines = {int(line["name"]): line for line in by_cycle["lines"]}
    assert lines.keys() == truth.complete.keys()
    for cycle_id, fills in truth.complete.items():
        line = lines[cycle_id]
        assert close(line["cost_usd"], truth.usd(fills, "buy"))
        assert close(line["proceeds_usd"], truth.usd(fills, "sell"))
        assert close(line["mean_holding_seconds"], truth.holding_seconds(fills), "0.001")
        assert line["max_safety_orders_used"] == truth.safety_orders(fills)
        sale_fee = D(line["proceeds_usd"]) - D(line["cost_usd"]) - D(line["profit_usd"])
        assert close(line["fees_usd"], sale_fee + truth.coin_fees_usd(fills), FEE_SHARE)
        start = datetime.fromisoformat(line["opened_at"])
        mean, peak = truth.capital(None, start, datetime.fromisoformat(line["completed_at"]))
        assert close(line["peak_capital_usd"], truth.usd(fills, "buy"))
        assert line["fees_are_estimated"] is False
        assert close(
            line["return_on_cost_percent"], D(line["profit_usd"]) * 100 / D(line["cost_usd"])
        )

    for name in ("BTC/USD", "ETH/USD", None):
        whole = report("--json", *(("--asset", name) if name else ())).json
        line = whole["total"]
        fills = truth.fills(name)
        cycles = [cycle for cycle in truth.complete.values() if name in (None, cycle[0]["symbol"])]
        assert line["cycles"] == len(cycles)
        assert close(line["cost_usd"], truth.usd(fills, "buy"))
        assert close(line["proceeds_usd"], truth.usd(fills, "sell"))
        held = [truth.holding_seconds(cycle) for cycle in cycles]
        assert close(line["mean_holding_seconds"], sum(held) / len(held), "0.001")
        assert close(line["worst_holding_seconds"], max(held), "0.001")
        assert line["max_safety_orders_used"] == max(truth.safety_orders(cycle) for cycle in cycles)
        start, end = (datetime.fromisoformat(whole[key]) for key in ("start", "end"))
        mean, peak = truth.capital(name, start, end)
        assert close(line["mean_capital_usd"], mean, "0.001")
        assert close(line["peak_capital_usd"], peak)
        assert close(line["return_on_peak_percent"], D(line["profit_usd"]) * 100 / peak, "0.0001")
        sale_fees = D(line["proceeds_usd"]) - D(line["cost_usd"]) - D(line["profit_usd"])
        assert close(line["fees_usd"], sale_fees + truth.coin_fees_usd(fills), FEE_SHARE)
        if name is None:
            assert close(sale_fees, truth.sale_fees), "FEE activities, to the last digit"

    day = report("--by", "day", "--json").json["lines"]
    assert [line["name"] for line in day] == [f"{truth.fills()[-1]['at']:%Y-%m-%d}"]
    won = [truth.usd(f, "sell") > truth.usd(f, "buy") * D("1.01") for f in truth.complete.values()]
    assert close(day[0]["won_percent"], D(sum(won)) * 100 / len(won), "0.0001")
    month = report("--by", "month", "--json").json
    assert D(month["lines"][0]["profit_usd"]) == D(month["total"]["profit_usd"])
    assert month["open"]["cycles"] == 2
    open_cycles = [fills for cycle, fills in truth.cycles.items() if cycle not in truth.complete]
    assert close(month["open"]["bound_usd"], sum(truth.usd(fills, "buy") for fills in open_cycles))


async def test_it_agrees_with_what_status_shows(traded, report, db_conn):
    realised = get_realised_profits(db_conn, EPOCH)
    lines = {line["name"]: line for line in report("--json").json["lines"]}
    assert lines.keys() == realised.keys()
    for symbol, profit in realised.items():
        assert lines[symbol]["cycles"] == profit.cycles
        assert close(lines[symbol]["profit_usd"], profit.profit_usd, "1e-12")


def newest_orders(truth: FromTheExchange, symbol: str | None = None) -> list[dict[str, Any]]:
    """Orders that were filled, the last to end first: what each of them came to."""
    found: dict[str, dict[str, Any]] = {}
    for cycle_id, fills in truth.cycles.items():
        for fill in fills:
            if symbol in (None, fill["symbol"]):
                order = found.setdefault(
                    fill["order"], {**fill, "cycle": cycle_id, "qty": D(0), "usd": D(0)}
                )
                order["qty"] += fill["qty"]
                order["usd"] += fill["qty"] * fill["price"]
    return sorted(found.values(), key=lambda order: order["ended"], reverse=True)


async def test_it_ends_with_the_account_as_it_is_now_and_the_last_fills(traded, report):
    said = get_trading_client().get("/account")
    truth = FromTheExchange()
    for symbol in (None, "ETH/USD"):
        shown = report("--json", *(("--asset", symbol) if symbol else ())).json
        assert {name: D(text) for name, text in shown["account"].items()} == {
            "equity_usd": D(said["equity"]),
            "cash_usd": D(said["cash"]),
        }
        orders = newest_orders(truth, symbol)
        assert len(orders) > 5, "so that five of them are the newest"
        for fill, order in zip(shown["last_fills"], orders[:5], strict=True):
            assert (fill["symbol"], fill["side"]) == (order["symbol"], order["side"])
            assert (fill["cycle_id"], D(fill["filled_qty"])) == (order["cycle"], order["qty"])
            assert close(fill["filled_usd"], order["usd"])
            assert datetime.fromisoformat(fill["ended_at"]) == order["ended"]

    lines = report("--by", "day").output.splitlines()
    equity, cash = usd(D(said["equity"])), usd(D(said["cash"]))
    assert f"account now: equity {equity} USD, of it {cash} USD cash" in lines
    after = lines[lines.index("Last fills, newest first (UTC)") + 1 :]
    for line, order in zip(after, newest_orders(truth)[:5], strict=True):
        what = {"buy": "bought", "sell": "sold"}[order["side"]]
        assert line.startswith(f"  {order['ended']:%m-%d %H:%M} {order['symbol']} {what} ")
        assert f"for {usd(order['usd'])} USD (" in line
        assert line.endswith(f", cycle {order['cycle']})")


async def test_an_exchange_that_is_away_takes_only_the_account_out_of_it(traded, report, exchange):
    before = report("--json").json
    exchange.stop()
    said = report("--json")
    assert (said.code, said.json["account"]) == (0, None)
    assert said.json["last_fills"] == before["last_fills"]
    assert said.json["total"]["profit_usd"] == before["total"]["profit_usd"]
    assert "account now: not known: the exchange does not say" in report().output


async def test_the_table_the_csv_and_the_pictures(traded, report, tmp_path):
    said = report("--by", "cycle")
    assert said.code == 0
    assert ESTIMATE_LEGEND in said.output
    assert "open: 2 cycles with" in said.output
    assert "total  3 cycles" in said.output
    assert "closed by the user" in report("--by", "cycle", "--json").output

    rows = list(csv.DictReader(io.StringIO(report("--by", "asset", "--csv").output)))
    exact = report("--by", "asset", "--json").json["lines"]
    seconds = [row[f"{which}_holding_seconds"] for row in rows for which in ("mean", "worst")]
    assert all(len(text.partition(".")[2]) <= 3 for text in seconds), "no noise of floating point"
    assert [row["name"] for row in rows] == ["BTC/USD", "ETH/USD"]
    assert [row["profit_usd"] for row in rows] == [line["profit_usd"] for line in exact]

    picture = tmp_path / "profit.png"
    picture.write_text("an older one")
    assert report("--plot", str(picture)).output == f"drawn: {picture}\n"
    assert picture.read_bytes().startswith(PNG_START)
    for cycle in json.loads(report("--by", "cycle", "--json").output)["lines"]:
        path = tmp_path / f"{cycle['name']}.png"
        assert report("--plot-cycle", cycle["name"], str(path)).code == 0
        assert path.stat().st_size > 20_000
    open_cycle = get_latest_of(traded)
    assert report("--plot-cycle", str(open_cycle), str(tmp_path / "open.png")).code == 0
    assert [path.suffix for path in tmp_path.iterdir() if path.is_file()] == [".png"] * 5


@pytest.fixture
def words(monkeypatch):
    """What stands in the pictures that are drawn."""
    found: list[str] = []
    save = Figure.savefig

    def savefig(figure, *arguments, **options):
        found.extend(text.get_text() for text in figure.findobj(Text))
        return save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return found


async def test_what_rests_on_estimated_fees_is_marked_until_they_are_posted(
    traded, report, db_conn, tmp_path, words
):
    def read():
        words.clear()
        tables = [report("--by", by).output for by in ("asset", "cycle", "day")]
        [first, *_] = report("--by", "cycle", "--json").json["lines"]
        assert report("--plot", str(tmp_path / "all.png")).code == 0
        assert report("--plot-cycle", first["name"], str(tmp_path / "one.png")).code == 0
        heads = [text for text in words if "USD after fees" in text or "Realised profit" in text]
        return tables, heads, first

    tables, heads, first = read()
    profit = f"~{Decimal(first['profit_usd']):+.2f}"
    assert first["fees_are_estimated"]
    assert profit in tables[1]
    assert all(len(re.findall(r"~\d+ %", table)) >= 1 for table in tables), "won, too"
    assert len(heads) == 2
    assert all(": ~" in head for head in heads)
    assert sum(ESTIMATE_LEGEND in text for text in words) == 2
    assert "~all" in words
    settle(db_conn)
    tables, heads, first = read()
    assert not first["fees_are_estimated"]
    assert "~" not in "".join([*tables, *words])


def get_latest_of(parts: BotParts) -> int:
    [*_, last] = parts.orders()
    return int(last.client_order_id.split("-")[1])


async def test_filters_choose_cycles_by_their_end(traded, report):
    total = report("--json").json["total"]
    assert report("--since", "1h", "--json").json["total"]["cycles"] == total["cycles"] == 3
    assert report("--since", "today", "--until", "today", "--json").json["total"]["cycles"] == 3
    assert report("--until", "2020-01", "--json").json["total"]["cycles"] == 0
    one = report("--asset", "eth-usd", "--json").json
    assert [line["name"] for line in one["lines"]] == ["ETH/USD"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--by", "year"), 2, "invalid choice: 'year'"),
        (("--since", "yesterday"), 2, "--since 'yesterday': expected 2026-01-31"),
        (("--since", "2026-02-30"), 2, "--since '2026-02-30': expected"),
        (("--since", "2026-02", "--until", "2026-01"), 2, "is not before"),
        (("--asset", "SHIB/USD"), 2, "the journal knows no SHIB/USD"),
        (("--asset", "!!"), 2, "is no trading pair"),
        (("--csv", "--json"), 2, "not allowed with"),
        (("--plot", "picture.jpg"), 2, "PNG files"),
        (("--plot", "/nowhere/p.png"), 2, "there is no folder /nowhere"),
        (("--plot-cycle", "x", "p.png"), 2, "expected the number of a cycle"),
        (("--plot-cycle", "77", "p.png"), 1, "cycle 77 has no fills"),
        (("--plot", "p.png"), 1, "no complete cycle to draw"),
    ],
)
def test_what_cannot_be_is_one_line(report, arguments, code, says):
    said = report(*arguments)
    assert said.code == code
    assert says in said.complaint


def test_an_empty_journal_is_no_error(report):
    assert "None in this span." in report().output
    said = report("--csv", "--by", "cycle")
    assert said.code == 0
    assert said.output.startswith("name,")
    assert report("--json").json["total"]["won_percent"] is None


def test_a_database_of_another_version_is_one_line(report, db_conn):
    execute_query("UPDATE dca_meta SET value = '1'", db_conn=db_conn)
    said = report("--json")
    assert (said.code, said.json["done"]) == (1, False)
    assert "run scripts/setup" in said.complaint


# The figures on cycles made by hand: pure.

T0 = datetime(2026, 3, 31, 23, 0, tzinfo=UTC)


def row(hours: float, side: str, qty: str, price: str, *, order: str = "", **fields: Any):
    purpose = Purpose.TAKE_PROFIT if side == "sell" else fields.pop("purpose", Purpose.BASE)
    made = build_order(
        side=side, status="filled", id=order or f"{side}-{hours}", filled_qty=qty,
        filled_avg_price=price, ended_at=T0 + timedelta(hours=hours),
    )  # fmt: skip
    plain = {"purpose": purpose, "client_order_id": f"{side}-{hours}"}
    return build_entry(made, **plain | fields)


def cycle(
    *entries: Any, status: str | None = "complete", cycle_id: int = 1, **fields: Any
) -> CycleJournal:
    return CycleJournal(
        cycle_id=cycle_id, symbol="BTC/USD", entries=entries,
        status=CycleStatus(status) if status else None, **{"completed_at": None} | fields,
    )  # fmt: skip


def test_a_late_correction_counts_in_its_cycle_and_is_one_safety_order():
    figures = compute_figures(
        cycle(
            row(0, "buy", "1", "100"),
            row(1, "buy", "0.5", "98", order="s", purpose=Purpose.SAFETY),
            row(1.1, "buy", "0.5", "98", order="s", purpose=Purpose.SAFETY),
            row(2, "sell", "1.99", "110", fee_usd=D("0.5")),
        )
    )
    assert figures.safety_orders == 1
    assert figures.orders == 3
    assert figures.profit_usd == D("218.9") - D("0.5") - D(198)
    assert figures.holding_seconds == 7200


@pytest.mark.parametrize(
    ("status", "entries", "counts"),
    [
        ("complete", ["buy", "sell"], True),
        ("complete", ["buy"], False),
        ("watching", ["buy", "sell"], False),
        ("error", ["buy", "sell"], False),
        (None, ["buy", "sell"], True),
        (None, ["buy"], False),
    ],
)
def test_which_cycles_count(status, entries, counts):
    made = cycle(*[row(i, side, "1", "100") for i, side in enumerate(entries)], status=status)
    assert (compute_figures(made) is not None) == counts


def test_a_cycle_that_ended_in_error_binds_nothing_any_more_and_is_named():
    failed = cycle(
        row(0, "buy", "1", "100"), row(1, "sell", "0.25", "100"), status="error",
        completed_at=T0 + timedelta(hours=2),
    )  # fmt: skip
    steps = compute_capital_steps(failed)
    assert [step.change_usd for step in steps] == [100, -25, -75]
    report = compute_report([failed], By.ASSET, now=T0 + timedelta(hours=4))
    assert (report.failed_cycles, report.failed_usd) == (1, 75)
    assert (report.total.count, report.open_cycles) == (0, 0)


def test_capital_is_weighted_by_time_and_a_peak_of_no_length_is_none():
    def hour(hours: float) -> datetime:
        return T0 + timedelta(hours=hours)

    curve = CapitalCurve(
        CapitalStep(hour(at), D(usd))
        for at, usd in [(0, 100), (1, 300), (2, -400), (2, 50), (3, -50), (3.5, 900), (3.5, -900)]
    )
    assert curve.use(hour(0), hour(4)) == CapitalUse(D("137.5"), D(400))
    assert curve.use(hour(1.5), hour(2.5)) == CapitalUse(D(225), D(400))
    assert curve.use(hour(-5), hour(-4)) == CapitalUse(D(0), D(0))
    assert curve.use(hour(2.5), hour(2.5)) == CapitalUse(D(50), D(50))
    assert curve.last_usd == 0


def test_days_and_months_are_those_of_utc_and_of_the_last_sale():
    first = cycle(row(0, "buy", "1", "100"), row(0.99, "sell", "1", "110"))
    second = cycle(row(0.5, "buy", "1", "100"), row(1, "sell", "1", "90"), cycle_id=2)
    now = T0 + timedelta(days=2)
    days = compute_report([first, second], By.DAY, now=now).lines
    assert [(line.name, line.profit_usd) for line in days] == [
        ("2026-03-31", 10),
        ("2026-04-01", -10),
    ]
    assert days[0].capital.peak_usd == 200
    months = compute_report([first, second], By.MONTH, now=now).lines
    assert [line.name for line in months] == ["2026-03", "2026-04"]
    midnight = T0 + timedelta(hours=1)
    late = compute_report([first, second], By.CYCLE, now=now, since=midnight)
    assert [line.name for line in late.lines] == ["2"], "from this moment on"
    early = compute_report([first, second], By.CYCLE, now=now, until=midnight)
    assert [line.name for line in early.lines] == ["1"], "up to it, and not it"


def test_weeks_begin_on_monday_in_utc():
    """T0 is late on a Tuesday: Monday begins 121 hours later."""
    cycles = [
        cycle(row(hours - 0.05, "buy", "1", "100"), row(hours, "sell", "1", "110"), cycle_id=number)
        for number, hours in enumerate((0.5, 120.9, 121.1), start=1)
    ]
    weeks = compute_report(cycles, By.WEEK, now=T0 + timedelta(days=30)).lines
    assert [(line.name, line.count) for line in weeks] == [("2026-W14", 2), ("2026-W15", 1)]
    assert weeks[1].capital.peak_usd == 100


def test_a_removed_asset_keeps_its_history(db_conn, make_asset):
    asset = make_asset()
    for number, side in enumerate(("buy", "sell")):
        entry = row(number, side, "1", "100", asset_id=asset.id, cycle_id=5)
        append_journal_entry(db_conn, entry)
    [found] = load_cycle_journals(db_conn)
    assert (found.cycle_id, found.status) == (5, None)
    assert compute_figures(found) is not None
    assert load_cycle_journals(db_conn, symbol="ETH/USD") == []
    assert load_cycle_journals(db_conn, cycle_id=6) == []
    assert get_asset_by_id(db_conn, asset.id) is not None


@pytest.mark.parametrize(
    ("text", "is_end", "expected"),
    [
        ("2026-02-28", False, "2026-02-28T00:00:00"),
        ("2026-02-28", True, "2026-03-01T00:00:00"),
        ("2026-12", True, "2027-01-01T00:00:00"),
        ("2026-12", False, "2026-12-01T00:00:00"),
        ("today", True, "2026-04-01T00:00:00"),
        ("2h", False, "2026-03-31T21:00:00"),
        ("1w", True, "2026-03-24T23:00:00"),
        ("2026-03-31T05:00+02:00", False, "2026-03-31T03:00:00"),
    ],
)
def test_moments_as_people_write_them(text, is_end, expected):
    moment = datetime.fromisoformat(expected).replace(tzinfo=UTC)
    assert read_moment("--since", text, T0, is_end=is_end) == moment


@pytest.mark.parametrize("text", ["", "2026", "0d", "1y", "99999-01", "2026-13", "9999-12-31T"])
def test_moments_that_are_none(text):
    with pytest.raises(Refused, match="expected"):
        read_moment("--since", text, T0, is_end=False)


def test_the_path_of_a_picture_stays_whole_when_drawing_fails(report, tmp_path, monkeypatch):
    path = tmp_path / "p.png"
    path.write_text("older")

    def fail(scratch: Path) -> None:
        scratch.write_text("half")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        report_command._write_whole(path, fail)
    assert [(one.name, one.read_text()) for one in tmp_path.glob("*.png")] == [("p.png", "older")]
