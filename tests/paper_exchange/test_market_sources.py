"""Where quotes come from: recordings, the synthetic market, and the pace of both."""

import asyncio
import gzip
import itertools
from decimal import Decimal

import pytest

from paper_exchange.core.assets import DEFAULT_ASSETS, AssetCatalog
from paper_exchange.core.clock import parse_time
from paper_exchange.core.config import ExchangeConfig, MarketConfig, MarketKind
from paper_exchange.quotes.pacing import MarketFeed
from paper_exchange.quotes.replay import ReplayError, load_recording, replay_quotes
from paper_exchange.quotes.synthetic import synthetic_quotes
from running_exchange import RunningExchange

HEADER = "timestamp,symbol,bid,bid_size,ask,ask_size\n"
ROWS = [
    "2021-07-01T00:00:00Z,ETHUSDT,2271.58,1.6477,2279.63,28.479526\n",
    "2021-07-01T00:00:01.5Z,ETH-USD,2271.6,1,2279.7,2\n",
    "2021-07-01T00:00:03Z,BTC/USD,33500,1,33501,2\n",
]


def record(path, rows=ROWS, header=HEADER):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt") as text:
        text.write(header + "".join(rows))
    return path


@pytest.mark.parametrize("name", ["quotes.csv", "quotes.csv.gz"])
def test_a_recording_is_read_plain_or_gzipped_and_its_symbols_are_mapped(tmp_path, name):
    quotes = load_recording(record(tmp_path / name), AssetCatalog())
    assert [one.symbol for one in quotes] == ["ETH/USD", "ETH/USD", "BTC/USD"]
    assert (quotes[0].bid, quotes[0].ask_size) == (Decimal("2271.58"), Decimal("28.479526"))
    assert quotes[2].at_seconds - quotes[0].at_seconds == 3


def test_a_recording_is_cut_to_symbols_and_to_a_window_of_time(tmp_path):
    path, assets = record(tmp_path / "quotes.csv"), AssetCatalog()
    assert len(load_recording(path, assets, symbols={"ETH/USD"})) == 2
    window = {
        "from_ns": parse_time("2021-07-01T00:00:01Z"),
        "until_ns": parse_time("2021-07-01T00:00:03Z"),
    }
    assert [one.bid for one in load_recording(path, assets, **window)] == [Decimal("2271.6")]


@pytest.mark.parametrize(
    ("bad_row", "reason"),
    [
        ("yesterday,ETHUSD,1,1,2,1\n", "line 3: "),
        ("2021-07-01T00:00:01Z,ETHEUR,1,1,2,1\n", "line 3: unknown symbol 'ETHEUR'"),
        ("2021-07-01T00:00:01Z,ETHUSD,abc,1,2,1\n", "line 3: not a number: 'abc'"),
        ("2021-07-01T00:00:01Z,ETHUSD,nan,1,2,1\n", "line 3: not a finite number"),
        ("2021-07-01T00:00:01Z,ETHUSD,-1,1,2,1\n", "line 3: negative number"),
        ("2021-07-01T00:00:01Z,ETHUSD,1,1\n", "line 3: 6 columns expected, 4 found"),
        ("2020-07-01T00:00:01Z,ETHUSD,1,1,2,1\n", "line 3: time goes backwards"),
    ],
)
def test_a_garbage_line_is_one_clear_error_with_its_number(tmp_path, bad_row, reason):
    path = record(tmp_path / "quotes.csv", [ROWS[0], bad_row])
    with pytest.raises(ReplayError, match=r"quotes\.csv, ") as error:
        load_recording(path, AssetCatalog())
    assert reason in str(error.value)


def test_a_wrong_header_a_missing_and_a_broken_file_are_named(tmp_path):
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(b"this is not gzip")
    wrong = record(tmp_path / "wrong.csv", header="time,price\n")
    damaged = tmp_path / "damaged.csv.gz"
    packed = bytearray(gzip.compress("".join(ROWS * 500).encode()))
    packed[20:60] = b"\xff" * 40
    damaged.write_bytes(packed)
    for path in (broken, damaged, wrong, tmp_path / "missing.csv"):
        with pytest.raises(ReplayError, match=path.name):
            load_recording(path, AssetCatalog())


def test_several_recordings_are_merged_by_time(tmp_path):
    first = load_recording(record(tmp_path / "a.csv", ROWS[:1] + ROWS[2:]), AssetCatalog())
    second = load_recording(record(tmp_path / "b.csv", ROWS[1:2]), AssetCatalog())
    times = [one.at_seconds for one in replay_quotes([first, second])]
    assert times == sorted(times)
    assert len(times) == 3


def test_a_replay_ends_visibly_and_its_quotes_carry_the_wall_clock(tmp_path, eventually):
    path = record(tmp_path / "quotes.csv")
    market = MarketConfig(kind=MarketKind.REPLAY, replay_files=(path,), speed=0)
    with RunningExchange(ExchangeConfig(market=market)) as exchange:
        eventually(lambda: exchange.state()["market"]["status"] == "ended")
        state = exchange.state()
        assert state["market"]["quotes_emitted"] == 3
        assert state["market"]["position"] == "2021-07-01T00:00:03Z"
        assert not state["quotes"]["ETH/USD"]["at"].startswith("2021")


def test_an_unusable_recording_stops_the_start(tmp_path):
    market = MarketConfig(kind=MarketKind.REPLAY, replay_files=(tmp_path / "missing.csv",))
    with pytest.raises(ReplayError):
        RunningExchange(ExchangeConfig(market=market)).start()


def prefix(seed, count=500):
    return list(itertools.islice(synthetic_quotes(DEFAULT_ASSETS, seed), count))


def test_the_same_seed_gives_the_same_market_and_another_seed_another():
    assert prefix(7) == prefix(7)
    assert prefix(7) != prefix(8)


def test_synthetic_quotes_are_several_a_second_sane_and_tight():
    increments = {asset.symbol: asset.price_increment for asset in DEFAULT_ASSETS}
    quotes = prefix(3, 20_000)
    for quote in quotes:
        assert 0 < quote.bid < quote.ask
        assert quote.bid % increments[quote.symbol] == quote.ask % increments[quote.symbol] == 0
        assert (quote.ask - quote.bid) / quote.bid < Decimal("0.0005")
    seconds = quotes[-1].at_seconds
    assert len(quotes) / seconds / len(DEFAULT_ASSETS) == pytest.approx(4, rel=0.05)


def first_cycle_with_a_safety_order(quotes, start, cooldown):
    """Seconds from the start of a plain DCA bot to the end of its first such cycle."""
    coins = spent = last = 0.0
    orders, ready = 0, start
    for quote in quotes:
        if quote.at_seconds < ready:
            continue
        ask, bid = float(quote.ask), float(quote.bid)
        wants_more = orders == 0 or (orders <= 5 and ask <= last * 0.995)
        if orders and bid >= spent / coins * 1.006:
            if orders > 1:
                return quote.at_seconds - start
            coins = spent = 0.0
            orders, ready = 0, quote.at_seconds + cooldown
        elif wants_more:
            coins, spent, last, orders = coins + 1 / ask, spent + 1, ask, orders + 1
            ready = quote.at_seconds + 0.5
    return None


@pytest.mark.parametrize("seed", range(20))
def test_a_dca_bot_completes_a_cycle_with_a_safety_order_within_its_first_minute(seed):
    for asset in DEFAULT_ASSETS[:5]:
        source = synthetic_quotes([asset], seed)
        quotes = list(itertools.takewhile(lambda one: one.at_seconds < 100, source))
        for start, cooldown in itertools.product((0, 3, 8), (0, 5, 10, 30)):
            took = first_cycle_with_a_safety_order(quotes, start, cooldown)
            assert took is not None
            assert took < 60
        for start in (15, 22, 30):
            assert first_cycle_with_a_safety_order(quotes, start, cooldown=5) < 60


async def test_a_feed_can_be_paused_and_sped_up():
    emitted = []
    feed = MarketFeed(iter(prefix(1, 400)), emitted.append, speed=1, paused=True)
    running = asyncio.create_task(feed.run())
    await asyncio.sleep(0.02)
    assert (emitted, feed.status.value) == ([], "paused")
    feed.configure(paused=False, speed=100)
    async with asyncio.timeout(5):
        await running
    assert len(emitted) == 400
    assert feed.status.value == "ended"
