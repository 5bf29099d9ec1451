"""`scripts/quickstart` as real processes in a folder of its own, to the first fill and beyond."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import urllib.request
from pathlib import Path

import pytest
from dotenv import dotenv_values

from fresh_clone import fresh_clone, write_settings
from local_stack.sandbox import KEY, SECRET
from mariadb_server.endpoint import free_port
from running_exchange import RunningExchange
from runtime.schedule import SCHEDULE
from terminal import talk

ALL = ("--local", "--yes", "--caretakers", "none")
NOT_YET = ("--yes", "--caretakers", "none", "--begin", "later")
PAPER_KEYS = {"ALPACA_API_KEY": "PKmine", "ALPACA_SECRET_KEY": "very-secret"}
ENDED = "do not run: scripts/quickstart --local goes on with both"
FAKE_CRONTAB = """#!/bin/sh
case "$1" in
  -l) cat "$HOME/crontab" 2>/dev/null || { echo "no crontab for me" >&2; exit 1; } ;;
  -r) rm -f "$HOME/crontab" ;;
  -) cat >"$HOME/crontab" ;;
esac
"""
# One that answers, and runs nothing.
FAKE_SYSTEMCTL = """#!/bin/sh
case "$*" in *is-active*) echo active ;; esac
"""


@pytest.fixture
def clone(tmp_path):
    """A folder in which nothing was set up; nothing of it runs at the end."""
    with fresh_clone(tmp_path / "my bot") as one:
        yield one


@pytest.fixture
def paper():
    """An exchange with keys of its own, as a paper account has them."""
    keys = {"key": PAPER_KEYS["ALPACA_API_KEY"], "secret": PAPER_KEYS["ALPACA_SECRET_KEY"]}
    with RunningExchange(partial_fill_probability=0, **keys) as running:
        running.push_quote("BTC/USD", 60000, 60001)
        yield running


def urls_of(exchange):
    urls = exchange.urls.as_dict()
    return {f"ALPACA_{name.upper()}": url for name, url in urls.items() if name != "control_url"}


def path_without_cron(clone):
    """A PATH with all programs of this machine, but for the ways that caretakers can be run."""
    folder = clone.folder / "bin"
    folder.mkdir()
    for place in ("/usr/sbin", "/bin", "/usr/bin"):
        for program in Path(place).iterdir():
            if program.name not in ("crontab", "systemctl"):
                with contextlib.suppress(FileExistsError):
                    (folder / program.name).symlink_to(program)
    return f"{clone.programs}:{folder}"


def order_at_exchange(env, order_id):
    request = urllib.request.Request(
        f"{env['ALPACA_TRADING_URL']}/v2/orders/{order_id}",
        headers={"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def test_one_command_leads_to_a_first_trade_and_the_sandbox_survives_its_stop(clone):
    # While it is stopped, another test's exchange could take a usual port.
    first = clone.run("quickstart", *ALL, "--json", "--port", str(free_port()))
    assert (first.returncode, first.stderr) == (0, "")
    shown = json.loads(first.stdout)
    trade = shown["last_trade"]
    assert (shown["account"], shown["database_name"]) == ("local", "dca_local")
    assert stat.S_IMODE(clone.env_file.stat().st_mode) == 0o600
    env = dotenv_values(clone.env_file)
    assert order_at_exchange(env, trade["order_id"])["status"] == "filled"
    journal = "SELECT alpaca_order_id FROM dca_orders WHERE filled_qty > 0 ORDER BY id LIMIT 1"
    assert clone.query("dca_local", journal) == [{"alpaca_order_id": trade["order_id"]}]

    written = clone.env_file.read_bytes()
    again = clone.run("quickstart")
    assert (again.returncode, again.stderr) == (0, "")
    assert "The daemon runs already" in again.stdout
    assert clone.env_file.read_bytes() == written

    stopped = clone.run("quickstart", "--local", "--stop")
    assert stopped.stdout.startswith("Ended: bot, local exchange, private MariaDB.")
    assert clone.processes() == []
    assert clone.run("quickstart", "--local", "--stop").stdout.startswith("Nothing of it runs.")

    later = clone.run("quickstart", "--local", "--json")
    assert (later.returncode, later.stderr) == (0, "")
    assert json.loads(later.stdout)["account_id"] == shown["account_id"]
    assert dotenv_values(clone.env_file)["ALPACA_TRADING_URL"] == env["ALPACA_TRADING_URL"]
    assert order_at_exchange(env, trade["order_id"])["status"] == "filled"
    assert clone.query("dca_local", "SELECT COUNT(*) AS n FROM dca_assets") == [{"n": 1}]

    with clone.env_file.open("a") as file:
        file.write(f"WEB=on\nWEB_PORT={free_port()}\n")
    assert clone.run("watchdog.py").returncode == 0  # it starts what serves the page
    assert "what serves the page" in clone.run("quickstart", "--local", "--stop").stdout
    assert clone.processes() == []
    _, count, problem, *_ = clone.run("status").stdout.splitlines()
    assert count == "1 thing is wrong:", "the page is away with the rest"
    assert ENDED in problem


def test_all_that_is_away_with_the_sandbox_has_one_cause_and_one_cure(clone):
    assert clone.run("quickstart", *NOT_YET, "--local").returncode == 0
    assert clone.run("quickstart", "--local", "--stop").returncode == 0
    [problem] = json.loads(clone.run("status", "--json").stdout)["problems"]
    assert ENDED in problem


def test_the_time_until_it_is_ready_is_that_of_the_whole_command(clone):
    program, remembered = clone.programs / "sha256sum", clone.folder / ".local" / "quickstart.json"
    marker = clone.folder / "set-up"
    program.write_text(f"#!/bin/sh\ntouch '{marker}'\nexec /usr/bin/sha256sum\n")
    program.chmod(0o755)
    done = clone.run("quickstart", *NOT_YET, "--local", "--json")
    assert done.returncode == 0, done.stderr
    spent = remembered.stat().st_mtime - marker.stat().st_mtime  # the last step's from the first
    assert json.loads(done.stdout)["seconds"] + 0.05 >= spent


def test_killed_at_any_step_it_goes_on_where_it_stopped(clone):
    """One folder, killed again and again; a step that is done is never done twice."""
    for line in (
        "1 of 5",
        "Starting the local exchange",
        "2 of 5",
        "Starting the private MariaDB",
        "3 of 5",
        "BTC/USD is added",
        "4 of 5",
        "5 of 5",
        "Starting the bot",
    ):
        clone.kill_at(line, ["quickstart", *ALL])
    done = clone.run("quickstart", *ALL, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["trades"] is True
    assert clone.query("dca_local", "SELECT asset_symbol FROM dca_assets") == [
        {"asset_symbol": "BTC/USD"}
    ]
    base = "SELECT COUNT(*) AS n FROM dca_orders WHERE purpose = 'base' AND cycle_id = 1"
    assert clone.query("dca_local", base) == [{"n": 1}]
    programs = [" ".join(one.cmdline()) for one in clone.processes()]
    for program in ("paper_exchange", "main_app.py", "--datadir"):
        assert sum(program in one for one in programs) == 1, programs
    assert not list(clone.folder.glob(".env.new*"))


def test_without_a_terminal_it_names_what_is_missing_and_does_nothing(clone):
    done = clone.run("quickstart")
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (2, 1, "")
    for option in ("--local", "--keys", "--database", "--asset", "--caretakers", "--begin"):
        assert option in done.stderr
    assert not clone.env_file.exists()
    assert clone.processes() == []


def test_keys_that_are_refused_are_never_saved_and_good_ones_never_shown(clone, paper, tmp_path):
    write_settings(clone, urls_of(paper), "MAX_BUY_USD_PER_DAY=500", "# mine")
    before = clone.env_file.read_bytes()
    keys = tmp_path / "keys.txt"
    keys.write_text("PKmine\nwrong-secret\n")
    refused = clone.run("quickstart", "--keys", str(keys), *NOT_YET)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert clone.env_file.read_bytes() == before

    keys.write_text("PKmine\nvery-secret\n")
    taken = clone.run("quickstart", "--keys", str(keys), *NOT_YET)
    assert (taken.returncode, taken.stderr) == (0, "")
    env = dotenv_values(clone.env_file)
    assert {name: env[name] for name in PAPER_KEYS} == PAPER_KEYS
    assert (env["MAX_BUY_USD_PER_DAY"], env["DB_NAME"]) == ("500", "dca_bot")
    assert "# mine" in clone.env_file.read_text().splitlines()
    said = refused.stdout + refused.stderr + taken.stdout
    for secret in ("wrong-secret", "very-secret", env["DB_PASSWORD"]):
        assert secret not in said
        logged = [path.read_text() for path in (clone.folder / "logs").glob("*.log")]
        assert secret not in "".join(logged)


@pytest.mark.parametrize("text", ["", "one\n", "a\nb\nc\n"])
def test_a_file_that_does_not_hold_two_keys_is_refused_unread(clone, tmp_path, text):
    keys = tmp_path / "keys.txt"
    keys.write_text(text)
    done = clone.run("quickstart", "--keys", str(keys), *NOT_YET)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "two lines" in done.stderr


def test_a_port_that_is_taken_is_named_with_its_cure(clone):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = clone.run("quickstart", *ALL, "--port", str(port))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"port {port} is taken" in done.stderr
    assert "--port" in done.stderr.partition(f"port {port}")[2]
    assert not clone.env_file.exists()


def test_an_env_file_of_alpaca_is_changed_only_when_its_user_agrees(clone):
    write_settings(clone, {**PAPER_KEYS, "DB_USER": "me", "DB_NAME": "mine"}, "MAX_OPEN_CYCLES=3")
    before = clone.env_file.read_bytes()
    refused = clone.run("quickstart", *ALL)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "--replace-account" in refused.stderr
    assert clone.env_file.read_bytes() == before
    assert clone.processes() == []

    done = clone.run("quickstart", "--local", *NOT_YET, "--replace-account")
    assert (done.returncode, done.stderr) == (0, "")
    kept = clone.folder / ".env.before-1"
    assert (kept.read_bytes(), stat.S_IMODE(kept.stat().st_mode)) == (before, 0o600)
    env = dotenv_values(clone.env_file)
    assert (env["ALPACA_API_KEY"], env["DB_NAME"], env["MAX_OPEN_CYCLES"]) == (
        KEY,
        "dca_local",
        "3",
    )


def test_real_money_is_never_begun_with(clone):
    write_settings(clone, {**PAPER_KEYS, "ALPACA_PAPER": "false"})
    before = clone.env_file.read_bytes()
    for arguments in (ALL, (*ALL, "--replace-account"), ("--yes",)):
        done = clone.run("quickstart", *arguments)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "docs/going-live.md" in done.stderr
    assert clone.env_file.read_bytes() == before


def test_what_the_shell_sets_is_not_silently_overruled(clone):
    done = clone.run("quickstart", *ALL, ALPACA_API_KEY="PKshell", ALPACA_SECRET_KEY="s")
    assert done.returncode == 2
    done = clone.run("quickstart", *ALL, DB_NAME="elsewhere", ALPACA_API_KEY=KEY)
    assert done.returncode == 0
    assert dotenv_values(clone.env_file)["DB_NAME"] == "elsewhere"


def test_cron_gets_the_caretakers_and_loses_them_with_the_sandbox(clone):
    crontab = clone.programs / "crontab"
    crontab.write_text(FAKE_CRONTAB)
    crontab.chmod(0o755)
    (clone.folder / "crontab").write_text("0 0 * * * mine\n")
    done = clone.run("quickstart", "--local", "--yes", "--begin", "later", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["caretakers"] == "cron"
    assert "watchdog" in (clone.folder / "crontab").read_text()
    assert (clone.folder / "run" / "stopped").exists(), "the watchdog must not begin by itself"
    assert clone.run("quickstart", "--local", "--stop").returncode == 0
    assert (clone.folder / "crontab").read_text() == "0 0 * * * mine\n"


def test_systemd_gets_the_caretakers_and_loses_them_with_the_sandbox(clone):
    systemctl = clone.programs / "systemctl"
    systemctl.write_text(FAKE_SYSTEMCTL)
    systemctl.chmod(0o755)
    arguments = ("quickstart", "--local", "--yes", "--begin", "later", "--json")
    done = clone.run(*arguments, PATH=path_without_cron(clone))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["caretakers"] == "systemd", "as there is no cron"
    units = clone.folder / ".config" / "systemd" / "user"
    assert len(list(units.glob("dca-bot-*.timer"))) == len(SCHEDULE)
    refused = clone.run(*arguments, "--caretakers", "foreground")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "scripts/install_crontab remove --systemd first" in refused.stderr
    assert clone.run("quickstart", "--local", "--stop").returncode == 0
    assert list(units.iterdir()) == []


def test_without_cron_and_systemd_the_caretakers_run_in_the_background_until_the_sandbox_ends(
    clone,
):
    path = path_without_cron(clone)
    done = clone.run("quickstart", "--local", "--yes", "--json", PATH=path)
    assert (done.returncode, done.stderr) == (0, ""), "nor does the bot say that nobody watches it"
    shown = json.loads(done.stdout)
    assert (shown["caretakers"], shown["trades"]) == ("foreground", True)
    [caretakers] = [one for one in clone.processes() if "cli.caretakers" in one.cmdline()]
    assert os.getsid(caretakers.pid) == caretakers.pid, "no terminal that closes can end it"
    again = clone.run("quickstart", PATH=path)
    assert f"PID {caretakers.pid}" in again.stdout
    stopped = clone.run("quickstart", "--local", "--stop")
    assert stopped.stdout.startswith("Ended: bot, caretakers, local exchange, private MariaDB.")
    assert clone.processes() == []

    later = clone.run("quickstart", "--local", "--json", PATH=path)
    assert (later.returncode, later.stderr) == (0, "")
    assert any("cli.caretakers" in one.cmdline() for one in clone.processes())


def test_caretakers_that_cannot_start_are_no_reason_to_say_that_they_run(clone):
    done = clone.run("quickstart", *NOT_YET, "--local")
    assert done.returncode == 0, done.stderr
    (clone.folder / "src" / "cli" / "caretakers.py").write_text("raise SystemExit('broken')")
    done = clone.run("quickstart", "--caretakers", "foreground", "--begin", "later")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "did not start" in done.stderr
    assert "broken" in (clone.folder / "logs" / "cron.out").read_text()


def test_on_a_terminal_it_asks_five_questions_once_and_shows_no_key(clone, paper):
    write_settings(clone, urls_of(paper))
    (clone.programs / "crontab").write_text(FAKE_CRONTAB)
    (clone.programs / "crontab").chmod(0o755)
    paper.push_quote("SOL/USD", 150, "150.01")
    answers = [
        ("API key", "PKmine"),
        ("Secret key", "wrong-secret"),
        ("API key", "PKmine"),
        ("Secret key", "very-secret"),
        ("Host of your", ""),
        ("What shall it trade first?", "SOLL/USD"),
        ("What shall it trade first?", "solusd"),
        ("let the bot buy it?", "y"),
        ("Let cron run them?", "n"),
        ("Start the bot?", "n"),
    ]
    screen = talk(clone.command("quickstart"), clone.environment, answers, columns=80)
    text = "\n".join(screen.lines)
    assert screen.code == 0, text
    assert "did you mean SOL/USD" in " ".join(text.split())
    assert len(screen.widest) <= 80, screen.widest
    for secret in ("PKmine", "wrong-secret", "very-secret"):
        assert secret not in text
    assert clone.query("dca_bot", "SELECT asset_symbol FROM dca_assets") == [
        {"asset_symbol": "SOL/USD"}
    ]

    screen = talk(clone.command("quickstart"), clone.environment, [("Start the bot?", "n")])
    assert screen.code == 0
    assert sum("?" in line for line in screen.lines) == 1, "the rest was answered before"


def test_a_no_to_the_plan_saves_nothing_and_says_how_to_go_on(clone):
    port = free_port()
    arguments = ("quickstart", "--local", "--port", str(port), "--database", "private")
    answers = [("What shall it trade first?", ""), ("let the bot buy it?", "n")]
    screen = talk(clone.command(*arguments), clone.environment, answers)
    assert screen.code == 1
    assert "run it again to go on" in " ".join(" ".join(screen.lines).split())
    assert clone.query("dca_local", "SELECT COUNT(*) AS n FROM dca_assets") == [{"n": 0}]
    assert not [one for one in clone.processes() if "main_app.py" in " ".join(one.cmdline())]


def test_help_teaches_in_eighty_columns(clone):
    done = clone.run("quickstart", "--help", COLUMNS="80")
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "scripts/quickstart --local --stop" in done.stdout
    assert not os.path.exists(clone.env_file)
