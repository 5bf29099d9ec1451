"""`scripts/backtest --verify`: what it prints and how it ends."""

from __future__ import annotations

import json

import pytest

from cli.backtest_verify import main

ROWS = [(100.0, 0), (98.4, 1), (96.8, 2), (100.5, 3), (100.5, 40), (98.0, 41)]


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "quotes.csv"
    lines = [
        f"2021-07-01T00:00:{second:02}Z,SOL/USDT,{price},1,{price + 0.01:.2f},1"
        for price, second in ROWS
    ]
    path.write_text("\n".join(["timestamp,symbol,bid,bid_size,ask,ask_size", *lines]) + "\n")
    return path


def test_the_same_in_every_digit_ends_well(recording, capsys):
    assert main([str(recording), "--json", "--cooldown", "30", "--take-profit", "1.2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["same"], told["difference"], told["quotes"]) == (True, None, 6)
    assert (told["orders"], told["cycles"]) == (6, 1)


def test_several_share_cash_and_limits_and_the_user_opens_cycles(recording, tmp_path, capsys):
    other = tmp_path / "other.csv"
    other.write_text(recording.read_text().replace("SOL/USDT", "ETH/USD"))
    options = ["--max-open-cycles", "1", "--start", "manual", "--open-at", "2021-07-01T00:00:01"]
    assert main([str(recording), str(other), "--json", *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["same"], told["quotes"]) == (True, 12)
    # SOL/USD: base, safety, sale at 100.5; then ETH/USD, asked for just then, too: base, safety.
    assert (told["orders"], told["cycles"]) == (5, 1)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["RECORDING", "--start", "manual"], "say when, as with --open-at"),
        (["RECORDING", "RECORDING"], "has quotes of SOL/USD again"),
        (["RECORDING", "RECORDING", "--symbol", "BTC/USD"], "--symbol is of one file"),
        (["RECORDING", "--max-open-loss", "0"], "--max-open-loss: expected a number"),
        (["nothing-here.csv"], "neither a file nor a symbol"),
        (["RECORDING", "--deviation", "much"], "--deviation takes"),
        (["RECORDING", "--cash", "-1"], "--cash takes USD above 0"),
    ],
)
def test_what_cannot_be_played_is_refused_in_one_line(recording, capsys, arguments, reason):
    given = [str(recording) if one == "RECORDING" else one for one in arguments]
    assert main(given) == 2
    assert reason in capsys.readouterr().err
