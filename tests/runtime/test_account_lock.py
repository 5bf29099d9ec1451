"""The lock of the account when its line dies silently: ours is taken back, another's never."""

from __future__ import annotations

import secrets
import shutil
import signal
from contextlib import closing, suppress
from pathlib import Path

import pytest

from config import get_settings, reset_settings
from daemon_process import DaemonProcess, wait_until
from mariadb_server.server import PrivateMariaDB
from models.cycle_data import create_cycle
from models.meta import apply_schema, get_meta, put_meta
from runtime import account_lock
from runtime.account_lock import AccountLock, find_lock_holder
from silent_proxy import silent_proxy
from utils.alpaca_client_rest import get_trading_client
from utils.alpaca_queries import fetch_account_id
from utils.db_utils import (
    DatabaseError,
    close_thread_connection,
    execute_query,
    get_db_connection,
    thread_connection,
)

OURS = secrets.token_hex(8)  # other modules' dead sessions may keep theirs for a while


@pytest.fixture
def line(bot_environment, monkeypatch):
    """The bot reaches its database over a line that can die; the test has one of its own."""
    with (
        closing(get_db_connection()) as direct,
        silent_proxy(int(bot_environment["DB_PORT"])) as proxy,
        monkeypatch.context() as over_the_line,
    ):
        proxy.direct = direct
        bot_environment |= {"DB_SOCKET": "", "DB_PORT": str(proxy.port)}
        for name in ("DB_SOCKET", "DB_PORT"):
            over_the_line.setenv(name, bot_environment[name])
        reset_settings()
        yield proxy
        close_thread_connection()
    reset_settings()


@pytest.fixture
def make_lock(tmp_path, line):
    """Locks as processes of one run folder have them; all are given back at the end."""
    made = []

    def make(run_dir: Path | None = None) -> AccountLock:
        made.append(AccountLock(OURS, run_dir))
        return made[-1]

    yield make
    for lock in made:
        lock.release()
    if (left := holder_of(line.direct)) is not None:
        with suppress(DatabaseError):  # it ends just now
            execute_query(f"KILL CONNECTION {left}", db_conn=line.direct)
        wait_until(lambda: holder_of(line.direct) is None)


def holder_of(db_conn, account=OURS):
    """The id of the connection that has the account's lock."""
    query = "SELECT IS_USED_LOCK(%s) AS id"
    return execute_query(query, (f"dca-bot-{account}",), fetch_one=True, db_conn=db_conn)["id"]


def test_a_lock_whose_line_died_silently_is_taken_back_from_our_own_dead_session(
    line, make_lock, monkeypatch
):
    monkeypatch.setattr(account_lock, "ANSWER_SECONDS", 1)
    lock = make_lock()
    assert lock.hold()
    before = holder_of(line.direct)
    line.go_silent()
    assert lock.hold()
    assert holder_of(line.direct) not in (None, before)
    assert lock.hold()


def die(lock: AccountLock) -> None:
    """As kill -9 does: the kernel frees the file, and on a dead line the server hears nothing."""
    lock.release()


def test_a_lock_that_is_freed_while_we_ask_who_has_it_is_no_other_daemons(
    line, make_lock, monkeypatch
):
    """A dead session is ended by the server at any moment; the daemon must not end with it."""
    query = "SELECT GET_LOCK(%s, 0) AS taken"
    dying = get_db_connection()
    execute_query(query, (f"dca-bot-{OURS}",), fetch_one=True, db_conn=dying)
    find = AccountLock._find_own_session

    def ends_before(self, connection, own_name):
        dying.close()
        wait_until(lambda: holder_of(line.direct) is None)
        return find(self, connection, own_name)

    monkeypatch.setattr(AccountLock, "_find_own_session", ends_before)
    assert make_lock().hold()


def test_a_line_that_dies_in_a_transaction_keeps_no_row_locked(line, monkeypatch):
    """The dead session would hold its locks for hours: the cycle could not be changed any more."""
    with closing(get_db_connection()) as over_the_line:
        apply_schema(over_the_line)
        put_meta(over_the_line, "row", "old")
        over_the_line.start_transaction()
        execute_query(
            "UPDATE dca_meta SET value = 'half done' WHERE name = 'row'", db_conn=over_the_line
        )
        line.go_silent()
        put_meta(line.direct, "row", "new")  # waits until the server has ended the dead session
        assert get_meta(line.direct, "row") == "new"


def test_a_process_that_starts_again_takes_it_from_its_dead_predecessor(line, make_lock):
    lock = make_lock()
    assert lock.hold()
    line.go_silent()
    die(lock)
    assert holder_of(line.direct) is not None, "the server has not heard of it"
    assert make_lock().hold()


def test_while_the_predecessor_lives_nothing_is_taken_from_it(line, make_lock):
    lock = make_lock()
    assert lock.hold()
    before = holder_of(line.direct)
    assert not make_lock().hold()
    assert holder_of(line.direct) == before
    assert lock.hold()


def test_a_copy_of_the_run_folder_is_no_predecessor(line, make_lock, tmp_path):
    lock = make_lock()
    assert lock.hold()
    before = holder_of(line.direct)
    copy = tmp_path / "copy"
    shutil.copytree(get_settings().run_dir, copy, copy_function=shutil.copy2)
    assert not make_lock(copy).hold()
    assert holder_of(line.direct) == before


def test_what_was_written_before_the_last_boot_is_no_predecessor(line, make_lock, monkeypatch):
    """The folder may have come here with a copy of the whole disk, and its owner still trade."""
    lock = make_lock()
    assert lock.hold()
    line.go_silent()
    die(lock)
    monkeypatch.setattr(account_lock, "read_boot_id", lambda: "another boot")
    assert not make_lock().hold()


@pytest.mark.parametrize("garbage", [b"", b"\xff\xfe", b"x", b"x y z", b"[" * 10_000])
def test_garbage_in_the_file_is_nobodys_name(line, make_lock, garbage):
    path = get_settings().run_dir / account_lock.FILE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(garbage)
    lock = make_lock()
    assert lock.hold()
    line.go_silent()
    die(lock)
    assert make_lock().hold(), "and was replaced"


def test_a_folder_that_cannot_be_written_hinders_nobody(line, make_lock, tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    assert make_lock(in_the_way).hold()


def test_a_connection_id_that_another_has_after_a_restart_of_the_server_is_never_killed(
    tmp_path, monkeypatch
):
    server = PrivateMariaDB(tmp_path / "own")
    server.start()
    try:
        server.create_database("killed_test")
        settings = {**server.db_env("killed_test"), "ENV_FILE": str(tmp_path / "none.env")}
        settings |= {"ALPACA_API_KEY": "k", "ALPACA_SECRET_KEY": "s"}
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        reset_settings()
        ours, theirs = AccountLock(OURS, tmp_path / "a"), AccountLock(OURS, tmp_path / "b")
        with closing(get_db_connection()), closing(get_db_connection()):
            assert ours.hold()
            before = holder_of(thread_connection())
        close_thread_connection()
        server.kill()
        server.start()
        probes = []
        while not probes or probes[-1].connection_id < before - 1:
            probes.append(get_db_connection())
        assert theirs.hold()
        assert holder_of(thread_connection()) == before, "the id that was ours"
        assert not ours.hold()
        assert theirs.hold()
        for lock in (ours, theirs):
            lock.release()
    finally:
        close_thread_connection()
        server.stop()
        reset_settings()


# The daemon.


@pytest.fixture
def account(exchange, db_conn, make_asset):
    create_cycle(db_conn, make_asset().id, "watching")
    return fetch_account_id(get_trading_client())


def test_a_daemon_whose_line_died_goes_on(bot_environment, account, line):
    with DaemonProcess(bot_environment) as daemon:
        daemon.wait_until_trading()
        before = holder_of(line.direct, account)
        line.go_silent()
        wait_until(lambda: holder_of(line.direct, account) not in (None, before))
        assert daemon.stop() == 0
        assert "app.superseded" not in daemon.output


def test_a_daemon_killed_on_a_dead_line_starts_again_at_once(bot_environment, account, line):
    with DaemonProcess(bot_environment) as daemon:
        daemon.wait_until_trading()
        line.go_silent()
        daemon.stop(signal.SIGKILL)
    assert find_lock_holder(line.direct, account) is not None
    with DaemonProcess(bot_environment) as daemon:
        daemon.wait_until_trading()
        assert daemon.stop() == 0
