"""Connections, queries and transactions on a real MariaDB, also while it is killed."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from uuid import UUID

import pytest

import utils.db_utils as db_utils
from config import reset_settings
from cutting_line import Cut, cutting_line
from daemon_process import wait_until
from mariadb_server.server import PrivateMariaDB
from runtime import account_lock
from runtime.account_lock import AccountLock
from utils import private_database
from utils.db_utils import (
    DatabaseError,
    DatabaseUnavailable,
    DuplicateRow,
    TransactionConflict,
    close_quietly,
    close_thread_connection,
    execute_query,
    get_db_connection,
    thread_connection,
    transaction,
)


def value_of(query, db_conn, params=None):
    row = execute_query(query, params, fetch_one=True, db_conn=db_conn)
    return next(iter(row.values()))


def is_served(connection_id, db_conn, statement="%"):
    query = (
        "SELECT 1 FROM information_schema.processlist WHERE id = %s AND COALESCE(info, '') LIKE %s"
    )
    return execute_query(query, (connection_id, statement), fetch_one=True, db_conn=db_conn)


def kill(db_conn):
    """End `db_conn` as an administrator would: the client notices at its next statement."""
    victim = db_conn.connection_id
    with closing(get_db_connection()) as another:
        execute_query(f"KILL CONNECTION {victim}", db_conn=another)
        wait_until(lambda: not is_served(victim, another), what="the connection is gone")


@pytest.fixture
def db_conn(bot_environment):
    """A connection to an empty database: these tests need none of the bot's tables."""
    with closing(get_db_connection()) as connection:
        yield connection


@pytest.fixture
def notes(db_conn):
    """A table to write to: what a test wrote, in order."""
    execute_query("CREATE TABLE notes (id INT PRIMARY KEY, text VARCHAR(20))", db_conn=db_conn)

    def read():
        rows = execute_query("SELECT id FROM notes ORDER BY id", fetch_all=True, db_conn=db_conn)
        return [row["id"] for row in rows]

    return read


def add(db_conn, number):
    execute_query("INSERT INTO notes (id) VALUES (%s)", (number,), db_conn=db_conn)


# Connections.


def test_db_connection(bot_environment):
    with closing(get_db_connection()) as connection:
        assert connection.is_connected()
        assert value_of("SELECT 1", connection) == 1


@pytest.mark.parametrize("again", [False, True], ids=["new", "reconnected"])
def test_a_session_is_autocommit_in_utc_with_strict_types(bot_environment, again):
    with closing(get_db_connection()) as connection:
        if again:
            connection.reconnect()
        assert connection.autocommit
        assert value_of("SELECT @@session.time_zone", connection) == "+00:00"
        assert "STRICT_ALL_TABLES" in value_of("SELECT @@session.sql_mode", connection)
        isolation = (
            "SHOW VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')"
        )
        assert (
            "READ-COMMITTED"
            in execute_query(isolation, fetch_one=True, db_conn=connection).values()
        )
        assert value_of("SELECT @@collation_connection", connection) == "utf8mb4_unicode_ci"


@pytest.mark.parametrize("over", ["socket", "tcp"])
def test_it_connects_over_the_socket_and_over_tcp(bot_environment, monkeypatch, over):
    if over == "tcp":
        monkeypatch.delenv("DB_SOCKET")
        reset_settings()
    with closing(get_db_connection()) as connection:
        assert value_of("SELECT DATABASE()", connection) == bot_environment["DB_NAME"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"DB_NAME": "nowhere_test"}, "nowhere_test"),
        ({"DB_PASSWORD": "wrong-password"}, "Access denied"),
        ({"DB_SOCKET": "", "DB_PORT": "9"}, "127.0.0.1:9"),
        ({"DB_SOCKET": "/nowhere.sock"}, "/nowhere.sock"),
    ],
)
def test_one_line_says_which_database_cannot_be_used_and_why(
    bot_environment, monkeypatch, changes, words
):
    with monkeypatch.context() as wrong:
        for name, value in changes.items():
            wrong.setenv(name, value)
        reset_settings()
        with pytest.raises(DatabaseUnavailable, match=words) as caught:
            get_db_connection()
    reset_settings()
    text = str(caught.value)
    assert "\n" not in text
    assert bot_environment["DB_PASSWORD"] not in text
    assert "wrong-password" not in text


@pytest.mark.parametrize(
    ("changes", "cure"),
    [
        ({"DB_SOCKET": "{folder}/mariadb.sock"}, "scripts/database start"),
        ({"DB_SOCKET": "", "DB_PORT": "9"}, "scripts/database start"),
        ({"DB_SOCKET": "/nowhere.sock"}, "scripts/doctor"),
        ({"DB_SOCKET": "", "DB_PORT": "10"}, "scripts/doctor"),
    ],
    ids=["our socket", "our port", "another socket", "another port"],
)
def test_a_database_that_is_away_is_told_with_its_cure(
    bot_environment, monkeypatch, tmp_path, changes, cure
):
    (tmp_path / "server.json").write_text('{"port": 9}')
    with monkeypatch.context() as wrong:
        wrong.setattr(private_database, "FOLDER", tmp_path)
        for name, value in changes.items():
            wrong.setenv(name, value.format(folder=tmp_path))
        reset_settings()
        with pytest.raises(DatabaseUnavailable) as caught:
            get_db_connection()
    reset_settings()
    assert str(caught.value).endswith(f": run {cure}")


@pytest.mark.parametrize(
    ("changes", "reason", "cure"),
    [
        ({"DB_NAME": "nowhere_test"}, "Unknown database", "correct DB_NAME in .env"),
        (
            {"DB_PASSWORD": "wrong-password"},
            "Access denied",
            "correct DB_USER and DB_PASSWORD in .env",
        ),
    ],
    ids=["name", "password"],
)
@pytest.mark.parametrize("is_private", [True, False], ids=["private", "of somebody else"])
def test_a_server_that_refuses_is_not_to_be_started_but_a_setting_corrected(
    bot_environment, monkeypatch, tmp_path, mariadb_server, changes, reason, cure, is_private
):
    with monkeypatch.context() as wrong:
        folder = mariadb_server.folder if is_private else tmp_path
        wrong.setattr(private_database, "FOLDER", folder)
        for name, value in changes.items():
            wrong.setenv(name, value)
        reset_settings()
        with pytest.raises(DatabaseUnavailable, match=reason) as caught:
            get_db_connection()
    reset_settings()
    hint = " (scripts/database env prints the lines)" if is_private else ""
    assert str(caught.value).endswith(f": {cure}{hint}")


def test_each_thread_has_a_connection_of_its_own(bot_environment):
    ours = thread_connection()
    assert thread_connection() is ours
    theirs = []
    worker = threading.Thread(
        target=lambda: (theirs.append(thread_connection()), close_thread_connection())
    )
    worker.start()
    worker.join()
    assert theirs[0] is not ours


def test_a_change_of_settings_opens_another_connection(bot_environment):
    before = thread_connection()
    reset_settings()
    assert thread_connection() is not before


def test_a_connection_of_the_plain_driver_is_served_too(db_conn, notes, mariadb_server):
    """As the tools have it that make the database."""
    with closing(mariadb_server.connect(bot_database(db_conn))) as plain:
        transaction(lambda connection: add(connection, 1), plain)
        kill(plain)
        add(plain, 2)
        assert value_of("SELECT MAX(id) FROM notes WHERE id < %s", plain, (9,)) == 2
    assert notes() == [1, 2]


def bot_database(db_conn):
    return value_of("SELECT DATABASE()", db_conn)


# Queries.


def test_each_way_of_fetching_returns_what_it_promises(db_conn, notes):
    insert = "INSERT INTO notes (id, text) VALUES (%s, %s)"
    assert execute_query(insert, (1, "a"), commit=True, db_conn=db_conn) == 1
    assert execute_query(insert, (2, "b"), commit=True, db_conn=db_conn) == 1
    one = execute_query("SELECT * FROM notes WHERE id = 1", fetch_one=True, db_conn=db_conn)
    assert one == {"id": 1, "text": "a"}
    every = execute_query("SELECT text FROM notes ORDER BY id", fetch_all=True, db_conn=db_conn)
    assert every == [{"text": "a"}, {"text": "b"}]
    none = "SELECT * FROM notes WHERE id = 9"
    assert execute_query(none, fetch_one=True, db_conn=db_conn) is None
    assert execute_query(none, fetch_all=True, db_conn=db_conn) == []
    same = "UPDATE notes SET text = 'a' WHERE id = 1"
    assert execute_query(same, db_conn=db_conn) == 1, "a row set to what it was counts as matched"
    assert execute_query("DELETE FROM notes WHERE id = 9", db_conn=db_conn) == 0


def test_an_insert_returns_the_new_id_and_a_later_update_the_rows_matched(db_conn):
    execute_query("CREATE TABLE things (id INT AUTO_INCREMENT PRIMARY KEY, n INT)", db_conn=db_conn)
    ids = [execute_query("INSERT INTO things (n) VALUES (0)", db_conn=db_conn) for _ in range(7)]
    assert ids == [1, 2, 3, 4, 5, 6, 7]
    assert execute_query("UPDATE things SET n = 1 WHERE id = 5", db_conn=db_conn) == 1
    assert execute_query("UPDATE things SET n = 1", db_conn=db_conn) == 7


def test_parameters_are_never_sql(db_conn, notes):
    nasty = "'); DROP TABLE--"
    execute_query("INSERT INTO notes VALUES (1, %s)", (nasty,), db_conn=db_conn)
    assert value_of("SELECT text FROM notes", db_conn) == nasty


def test_without_a_connection_the_plans_call_uses_the_threads_own(db_conn, notes):
    execute_query("INSERT INTO notes (id) VALUES (%s)", (5,), commit=True)
    assert notes() == [5]
    assert execute_query("SELECT COUNT(*) AS n FROM notes", fetch_one=True) == {"n": 1}


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (datetime(2024, 1, 1, 12, tzinfo=UTC), "2024-01-01 12:00:00"),
        (
            datetime(2024, 1, 1, 12, tzinfo=timezone(timedelta(hours=5))),
            "2024-01-01 07:00:00",
        ),
        (UUID("c2470331-8993-4051-bf5d-428d5bdc9a48"), "c2470331-8993-4051-bf5d-428d5bdc9a48"),
        (Colour.RED, "red"),
        (Decimal("123456789012345678.123456789012345678"), "123456789012345678.123456789012345678"),
        (None, None),
    ],
    ids=str,
)
def test_values_reach_the_server_as_they_are_meant(db_conn, value, stored):
    assert value_of("SELECT CAST(%s AS CHAR) AS text", db_conn, (value,)) == stored


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("SELECT * FROM nowhere", DatabaseError),
        ("SELEKT 1", DatabaseError),
        ("INSERT INTO notes VALUES (1, 'again')", DuplicateRow),
        ("INSERT INTO notes VALUES ('not a number', 'x')", DatabaseError),
        ("INSERT INTO notes VALUES (2, REPEAT('x', 21))", DatabaseError),
    ],
)
def test_what_the_server_refuses_is_an_error_of_ours(db_conn, notes, statement, kind):
    add(db_conn, 1)
    with pytest.raises(kind) as caught:
        execute_query(statement, db_conn=db_conn)
    assert not isinstance(caught.value, DatabaseUnavailable)
    assert caught.value.errno > 0
    assert notes() == [1]


def test_an_open_connection_sees_what_others_committed_meanwhile(db_conn, notes):
    assert notes() == []
    with closing(get_db_connection()) as another:
        add(another, 1)
    assert notes() == [1]


# Lost connections.


def test_a_query_after_a_lost_connection_opens_it_again(db_conn, notes):
    kill(db_conn)
    add(db_conn, 1)
    assert notes() == [1]


def test_a_connection_lost_during_a_statement_is_said_and_healed_by_the_next(db_conn):
    victim = db_conn.connection_id
    killer = threading.Thread(target=_kill_when_it_sleeps, args=(victim,))
    killer.start()
    with pytest.raises(DatabaseUnavailable):
        execute_query("DO SLEEP(20)", db_conn=db_conn)
    killer.join()
    assert value_of("SELECT 1", db_conn) == 1


def test_a_read_that_loses_its_connection_is_done_again_on_a_new_one(db_conn):
    asleep = "SELECT SLEEP(20 * (CONNECTION_ID() IN (%s, %s))) AS slept"
    first = db_conn.connection_id
    killer = threading.Thread(target=_kill_when_it_sleeps, args=(first,))
    killer.start()
    assert value_of(asleep, db_conn, (first, 0)) == 0
    killer.join()
    assert db_conn.connection_id != first


@pytest.fixture
def line(notes, bot_environment, monkeypatch):
    """A line that can be broken, for the connection of this thread."""
    with monkeypatch.context() as patched:
        patched.setitem(db_utils.get_db_connection.__kwdefaults__, "statement_seconds", 1)
        with cutting_line(int(bot_environment["DB_PORT"])) as line:
            patched.setenv("DB_SOCKET", "")
            patched.setenv("DB_PORT", str(line.port))
            reset_settings()
            thread_connection()
            yield line
            close_thread_connection()
    reset_settings()


@pytest.mark.parametrize("cut", Cut, ids=str)
def test_a_read_is_repeated_once_however_its_line_breaks(line, notes, cut):
    read = "SELECT 8 AS n"
    line.cut_at(read, cut)
    assert value_of(read, None) == 8
    line.cut_at(read, cut)
    line.cut_at(read, cut)
    with pytest.raises(DatabaseUnavailable):
        value_of(read, None)
    assert value_of("SELECT 9 AS n", None) == 9, "and never the answer of another"
    assert line.statements.count(read) == 4


@pytest.mark.parametrize("cut", Cut, ids=str)
def test_a_single_write_that_loses_its_line_is_said_and_never_repeated(line, notes, cut):
    line.cut_at("INSERT", cut)
    with pytest.raises(DatabaseUnavailable):
        add(None, 1)
    reached = cut not in (Cut.UNSENT, Cut.SILENT)
    wait_until(lambda: notes() == ([1] if reached else []), what="what the server got")
    add(None, 2)
    assert notes() == ([1, 2] if reached else [2])
    assert sum(statement.startswith("INSERT") for statement in line.statements) == 2


@pytest.mark.parametrize("how", ["the server closed it", "it died silently"])
def test_a_single_write_does_not_fail_because_its_idle_line_was_lost(line, notes, how):
    if how == "the server closed it":
        kill(thread_connection())
    else:
        line.go_silent()
    add(None, 1)
    assert notes() == [1]


def test_a_lock_of_a_session_is_not_taken_twice_by_a_repeated_read(line):
    line.cut_at("SELECT GET_LOCK", Cut.UNANSWERED)
    with pytest.raises(DatabaseUnavailable):
        value_of("SELECT GET_LOCK('one', 0) AS taken", None)


@pytest.mark.parametrize("cut", Cut, ids=str)
def test_a_transaction_that_cannot_begin_costs_no_replay(line, notes, cut):
    line.cut_at("START", cut)
    calls = []
    transaction(lambda connection: (calls.append(1), add(connection, 1)))
    assert (len(calls), notes()) == (1, [1])


def test_what_is_stopped_in_the_middle_of_an_answer_is_not_read_on_later(db_conn, monkeypatch):
    """As by a signal: the rest of the answer would be taken for the next one."""

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(db_conn.converter, "row_to_python", stopped)
    with pytest.raises(KeyboardInterrupt):
        value_of("SELECT 1 AS n", db_conn)
    assert value_of("SELECT 2 AS n", db_conn) == 2


def _kill_when_it_sleeps(victim):
    with closing(get_db_connection()) as another:
        wait_until(lambda: is_served(victim, another, "%SLEEP%"), what="it sleeps")
        execute_query(f"KILL CONNECTION {victim}", db_conn=another)


# Transactions.


def test_a_transaction_is_invisible_until_it_is_whole(db_conn, notes):
    seen_inside = []

    def work(connection):
        add(connection, 1)
        with closing(get_db_connection()) as another:
            seen_inside.append(value_of("SELECT COUNT(*) AS n FROM notes", another))
        add(connection, 2)
        return "done"

    assert transaction(work, db_conn) == "done"
    assert seen_inside == [0]
    assert notes() == [1, 2]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_an_error_undoes_the_whole_transaction_and_is_not_repeated(db_conn, notes, error):
    calls = []

    def work(connection):
        calls.append(1)
        add(connection, 1)
        raise error

    with pytest.raises(type(error)):
        transaction(work, db_conn)
    assert (len(calls), notes()) == (1, [])
    add(db_conn, 2)
    assert notes() == [2], "the connection is autocommit again"


def test_a_refused_statement_undoes_what_came_before_it(db_conn, notes):
    def work(connection):
        add(connection, 1)
        add(connection, 1)

    with pytest.raises(DuplicateRow):
        transaction(work, db_conn)
    assert notes() == []


def test_a_transaction_inside_another_joins_it(db_conn, notes):
    def outer(connection):
        transaction(lambda inner: add(inner, 1), connection)
        add(connection, 2)
        raise ValueError("undo all of it")

    with pytest.raises(ValueError, match="undo"):
        transaction(outer, db_conn)
    assert notes() == []


def test_the_plans_commit_inside_a_transaction_does_not_end_it(db_conn, notes):
    """`create_cycle` and the like say commit=True; inside a transaction they are part of it."""

    def work(connection):
        execute_query("INSERT INTO notes (id) VALUES (1)", commit=True, db_conn=connection)
        raise ValueError("undo")

    with pytest.raises(ValueError, match="undo"):
        transaction(work, db_conn)
    assert notes() == []


@pytest.mark.parametrize("moment", ["before the first", "between", "before the commit"])
def test_a_transaction_whose_connection_is_killed_is_replayed_whole(db_conn, notes, moment):
    moments = iter(["before the first", "between", "before the commit"])
    calls = []

    def maybe_kill(connection):
        if next(moments, None) == moment:
            kill(connection)

    def work(connection):
        calls.append(1)
        maybe_kill(connection)
        add(connection, 1)
        maybe_kill(connection)
        add(connection, 2)
        maybe_kill(connection)

    transaction(work, db_conn)
    assert notes() == [1, 2], "both halves, once"
    assert len(calls) == 2


def test_a_connection_that_was_dead_before_its_transaction_costs_no_replay(db_conn, notes):
    kill(db_conn)
    calls = []
    transaction(lambda connection: (calls.append(1), add(connection, 1)), db_conn)
    assert (len(calls), notes()) == (1, [1])


def test_replays_are_bounded_and_leave_nothing_half_written(db_conn, notes, monkeypatch):
    monkeypatch.setattr(db_utils, "_REPLAY_WAITS_SECONDS", (0, 0))
    calls = []

    def work(connection):
        calls.append(1)
        add(connection, 1)
        kill(connection)
        add(connection, 2)

    with pytest.raises(DatabaseUnavailable):
        transaction(work, db_conn)
    assert (len(calls), notes()) == (3, [])


def test_of_two_transactions_that_block_each_other_both_are_done_in_the_end(db_conn, notes):
    for number in (1, 2):
        execute_query("INSERT INTO notes VALUES (%s, '')", (number,), db_conn=db_conn)
    both_hold_one = threading.Barrier(2, timeout=60)
    first_try = threading.local()

    def run(mark, order):
        def work(connection):
            lock = "UPDATE notes SET text = CONCAT(text, %s) WHERE id = %s"
            execute_query(lock, (mark, order[0]), db_conn=connection)
            if not hasattr(first_try, "done"):
                first_try.done = True
                both_hold_one.wait()
            execute_query(lock, (mark, order[1]), db_conn=connection)

        transaction(work)
        close_thread_connection()

    threads = [
        threading.Thread(target=run, args=("a", (1, 2))),
        threading.Thread(target=run, args=("b", (2, 1))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    rows = execute_query("SELECT text FROM notes", fetch_all=True, db_conn=db_conn)
    assert [sorted(row["text"]) for row in rows] == [["a", "b"], ["a", "b"]]


def test_a_lock_that_is_not_given_is_a_conflict_and_not_a_loss(db_conn, notes, monkeypatch):
    monkeypatch.setattr(db_utils, "_REPLAY_WAITS_SECONDS", ())
    add(db_conn, 1)
    with closing(get_db_connection()) as holder:
        holder.start_transaction()
        execute_query("SELECT id FROM notes FOR UPDATE", fetch_all=True, db_conn=holder)
        execute_query("SET innodb_lock_wait_timeout = 1", db_conn=db_conn)
        wanted = "SELECT id FROM notes WHERE id = 1 FOR UPDATE"
        with pytest.raises(TransactionConflict):
            transaction(lambda mine: execute_query(wanted, fetch_one=True, db_conn=mine), db_conn)
        holder.rollback()


def kill_query(victim):
    """Interrupt the statement that `victim` runs, as an administrator would."""
    with closing(get_db_connection()) as another:
        wait_until(lambda: is_served(victim, another, "%wanted%"), what="the statement runs")
        execute_query(f"KILL QUERY {victim}", db_conn=another)


@pytest.mark.parametrize("cause", ["killed", "out of time", "without an answer"])
def test_an_interrupted_statement_is_to_be_tried_again_and_the_connection_goes_on(
    db_conn, notes, cause
):
    add(db_conn, 1)
    wanted = "SELECT id AS wanted FROM notes WHERE id = 1 FOR UPDATE"
    patience = 1 if cause == "without an answer" else 30
    with (
        closing(get_db_connection()) as holder,
        closing(get_db_connection(statement_seconds=patience)) as waiter,
    ):
        holder.start_transaction()
        execute_query("SELECT id FROM notes FOR UPDATE", fetch_all=True, db_conn=holder)
        if cause == "out of time":
            execute_query("SET max_statement_time = 0.05", db_conn=waiter)
        killer = threading.Thread(target=kill_query, args=(waiter.connection_id,))
        if cause == "killed":
            killer.start()
        with pytest.raises(DatabaseUnavailable) as caught:
            execute_query(wanted, fetch_one=True, db_conn=waiter)
        assert caught.value.errno == {"killed": 1317, "out of time": 1969}.get(cause, 3024)
        assert "\n" not in str(caught.value)
        if killer.ident:
            killer.join()
        holder.rollback()
        execute_query("SET max_statement_time = 0", db_conn=waiter)
        assert execute_query(wanted, fetch_one=True, db_conn=waiter) == {"wanted": 1}


def test_a_transaction_whose_statement_was_interrupted_runs_again_as_a_whole(db_conn, notes):
    add(db_conn, 1)
    calls = []

    def work(connection):
        calls.append(1)
        add(connection, 1 + len(calls))
        if len(calls) == 1:
            killer = threading.Thread(target=kill_query, args=(connection.connection_id,))
            killer.start()
            try:
                execute_query("SELECT SLEEP(60) AS wanted", fetch_one=True, db_conn=connection)
            finally:
                killer.join()
        add(connection, 9)

    with closing(get_db_connection()) as mine:
        transaction(work, mine)
    assert (len(calls), notes()) == (2, [1, 3, 9])


def test_a_transaction_begun_by_hand_is_not_continued_on_a_new_connection(db_conn, notes):
    db_conn.start_transaction()
    add(db_conn, 1)
    kill(db_conn)
    with pytest.raises(DatabaseUnavailable):
        add(db_conn, 2)
    add(db_conn, 3)
    assert notes() == [3], "the first half is lost, and its owner got the error"


# A server that dies.


@pytest.fixture
def own_server(tmp_path, monkeypatch):
    """A server that may be killed: everybody else's tests go on with theirs."""
    server = PrivateMariaDB(tmp_path / "own")
    server.start()
    server.create_database("killed_test")
    settings = {**server.db_env("killed_test"), "ENV_FILE": str(tmp_path / "none.env")}
    settings |= {"ALPACA_API_KEY": "k", "ALPACA_SECRET_KEY": "s"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    reset_settings()
    yield server
    close_thread_connection()
    server.stop()
    reset_settings()


def test_a_killed_and_restarted_server_costs_a_replay_and_nothing_else(own_server):
    connection = thread_connection()
    execute_query("CREATE TABLE notes (id INT PRIMARY KEY)")
    calls = []

    def work(connection):
        calls.append(1)
        add(connection, 1)
        if len(calls) == 1:
            own_server.kill()
            own_server.start()
        add(connection, 2)

    transaction(work)
    assert len(calls) == 2
    assert thread_connection() is connection
    ids = execute_query("SELECT id FROM notes ORDER BY id", fetch_all=True)
    assert [row["id"] for row in ids] == [1, 2]
    assert value_of("SELECT @@session.time_zone", connection) == "+00:00"

    own_server.stop()
    with pytest.raises(DatabaseUnavailable):
        execute_query("SELECT 1", fetch_one=True)
    with pytest.raises(DatabaseUnavailable):
        transaction(lambda connection: add(connection, 3))
    close_quietly(connection)
    own_server.start()
    add(None, 4)
    assert value_of("SELECT COUNT(*) AS n FROM notes", None) == 3, "it heals by itself"


# The lock of the account.


def test_one_holder_has_the_account_until_its_connection_ends(db_conn):
    ours, theirs, of_another = AccountLock("one"), AccountLock("one"), AccountLock("two")
    try:
        assert ours.hold()
        assert ours.hold(), "asking again keeps it"
        assert not theirs.hold()
        assert of_another.hold()
        ours.release()
        assert theirs.hold()
        assert not ours.hold()
    finally:
        for lock in (ours, theirs, of_another):
            lock.release()


def test_a_lock_lost_with_its_connection_is_noticed_and_taken_back_if_it_is_free(db_conn):
    ours, theirs = AccountLock("one"), AccountLock("one")
    try:
        assert ours.hold()
        kill(ours._connection)
        assert ours.hold()
        kill(ours._connection)
        assert theirs.hold()
        assert not ours.hold(), "another daemon was faster"
    finally:
        ours.release()
        theirs.release()


def test_a_holder_that_fell_silent_with_its_whole_machine_loses_the_account(db_conn, monkeypatch):
    """No end of the connection ever arrives then, and the server would wait for eight hours."""
    monkeypatch.setattr(account_lock, "LOCK_IDLE_SECONDS", 1)
    silent, heir = AccountLock("one"), AccountLock("one")
    try:
        assert silent.hold()
        assert not heir.hold()
        wait_until(heir.hold)
        assert not silent.hold()
    finally:
        silent.release()
        heir.release()
