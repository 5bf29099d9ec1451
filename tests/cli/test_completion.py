"""What Tab offers, asked of a real bash; and that zsh gets the same."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import fields

import pytest

from cli.completion import USUAL, main
from paper_exchange.core.assets import DEFAULT_ASSETS
from runtime.heartbeat import Heartbeat, save_heartbeat

ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_dca_bot
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def offered(tmp_path, capsys):
    """A function: the words behind which Tab is pressed -> what is offered."""
    assert main(["bash"]) == 0
    script = tmp_path / "completion.bash"
    script.write_text(capsys.readouterr().out)

    def ask(*words):
        command = ["bash", "-euc", ASK, "bash", str(script), *words]
        run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
        return run.stdout.split()

    return ask


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("scripts/assets", "e"), ["edit", "enable"]),
        (("./scripts/assets", "edit", "--d"), ["--deviation"]),
        (("/home/x/bot/scripts/bot", "close", "BTC/USD", "--c"), ["--confirm"]),
        (("scripts/bot", "res"), ["restart", "resume"]),
        (("scripts/status", "--w"), ["--watch"]),
        (("scripts/logs", "watchdog", "--fo"), ["--follow"]),
        (("scripts/report", "--plot"), ["--plot", "--plot-cycle"]),
        (("scripts/quickstart", "--lo"), ["--local"]),
        (("scripts/quickstart", "--local", "--sa"), ["--safety"]),
        (
            ("scripts/quickstart", "--local", "--sto"),
            ["--stop-loss", "--stop-loss-seconds", "--stop-loss-action", "--stop"],
        ),
        (("scripts/history", "f"), ["fetch"]),
        (("scripts/history", "fetch", "BTC/USD", "--r"), ["--replace"]),
        (("scripts/backtest", "BTC/USD", "--sh"), ["--show"]),
        (("scripts/completion", ""), ["bash", "zsh", "--help"]),
        (("scripts/assets", "edit", "BTC/USD", "--stop-loss-action", ""), ["disable", "cooldown"]),
        (("scripts/assets", "add", "BTC/USD", "--reference", "b"), ["base-order"]),
        (("scripts/report", "--by", "m"), ["month"]),
        (("scripts/quickstart", "--caretakers", "c"), ["cron"]),
        (("scripts/assets", "add", "BTC/USD", "--base", ""), []),
        (("scripts/assets", "add", "BTC/USD", "--fee-aware", "--star"), ["--start"]),
        (("assets", "e"), []),
    ],
)
def test_tab_offers_the_commands_and_options_of_the_scripts(offered, words, expected):
    assert offered(*words) == expected


COINS = {
    ("scripts/assets", "show", "E"): ["ETH/USD"],
    ("scripts/bot", "close", "BTC/USD", "--confirm", ""): ["BTC/USD", "ETH/USD"],
    ("./scripts/report", "--asset", ""): ["BTC/USD", "ETH/USD"],
    ("scripts/backtest", "BTC/USD", "ETH"): ["ETH/USD"],
    ("scripts/assets", "add", "DO"): ["DOGE/USD"],
    ("scripts/assets", "list", "B"): [],
}


def test_tab_offers_the_assets_of_the_last_heartbeat_and_to_add_those_that_are_usual(
    offered, tmp_path
):
    assert offered("scripts/assets", "show", "S") == ["SOL/USD"], "there is no heartbeat yet"
    assert USUAL.split() == [asset.symbol for asset in DEFAULT_ASSETS]
    (tmp_path / "scripts").mkdir()
    known = {spec.name: None for spec in fields(Heartbeat)} | {"symbols": ["ETH/USD", "BTC/USD"]}
    save_heartbeat(tmp_path / "run", Heartbeat(**known))
    for words, expected in COINS.items():
        assert offered(*words) == expected
    elsewhere = (str(tmp_path / "scripts" / "assets"), "show", "")
    assert {"BTC/USD", "ETH/USD", "--json"} <= set(offered(*elsewhere))
    assert "SOL/USD" not in offered(*elsewhere)


def test_zsh_gets_the_same_through_its_own_bridge(capsys):
    assert main(["bash"]) == 0
    bash = capsys.readouterr().out
    assert main(["zsh"]) == 0
    zsh = capsys.readouterr().out
    assert zsh.endswith(bash)
    assert "bashcompinit" in zsh
    if shell := shutil.which("zsh"):
        subprocess.run([shell, "-f", "-n"], input=zsh, text=True, check=True)


def test_another_shell_is_refused_in_one_line():
    command = [sys.executable, "-P", "-m", "cli.completion", "fish"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr.count("\n")) == (2, 1)
