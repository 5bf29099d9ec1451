"""The private MariaDB: it starts, it is found again, and nothing is left when it ends."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mysql.connector
import psutil
import pytest

from config import PROJECT_ROOT
from local_stack.scratch import scratch_folder
from mariadb_server.binaries import ServerBinaries, candidates
from mariadb_server.data_folder import create_data_folder
from mariadb_server.errors import MariaDBError
from mariadb_server.server import PrivateMariaDB
from runtime.process_table import servers_below


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PrivateMariaDB]:
    server = PrivateMariaDB(tmp_path / "server")
    yield server
    server.stop()


def answer(server: PrivateMariaDB, query: str, **how: object) -> object:
    """The first value of the first row, asked over the DB_* settings a program would be given."""
    env = server.db_env()
    where = how or {"host": env["DB_HOST"], "port": int(env["DB_PORT"])}
    with mysql.connector.connect(
        user=env["DB_USER"], password=env["DB_PASSWORD"], use_pure=True, **where
    ) as connection:
        cursor = connection.cursor()
        cursor.execute(query)
        return cursor.fetchall()[0][0]


def pids(server: PrivateMariaDB) -> list[int]:
    return [process.pid for process in servers_below(server.folder)]


def test_it_answers_over_tcp_and_over_its_socket(mariadb_server: PrivateMariaDB) -> None:
    assert answer(mariadb_server, "SELECT 1") == 1
    assert answer(mariadb_server, "SELECT 1", unix_socket=mariadb_server.db_env()["DB_SOCKET"]) == 1
    assert mariadb_server.is_running()


def test_what_was_made_ahead_without_any_package_is_what_starts(server: PrivateMariaDB) -> None:
    subprocess.run(
        [sys.executable, "-S", "-m", "mariadb_server.prepare", str(server.folder)],
        env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT / "src")},
        check=True,
    )
    assert pids(server) == []
    made = (server.folder / "data").stat()
    server.start()
    assert (server.folder / "data").stat().st_ino == made.st_ino
    assert answer(server, "SELECT 1") == 1


def test_starting_twice_keeps_the_same_server(server: PrivateMariaDB) -> None:
    server.start()
    first = pids(server)
    server.start()
    PrivateMariaDB(server.folder).start()
    assert pids(server) == first
    assert len(first) == 1


def test_two_programs_that_start_it_at_once_share_one_server(server: PrivateMariaDB) -> None:
    start = (
        "import sys; from mariadb_server.server import PrivateMariaDB as P; P(sys.argv[1]).start()"
    )
    programs = [
        subprocess.Popen([sys.executable, "-c", start, str(server.folder)]) for _ in range(2)
    ]
    assert [program.wait(60) for program in programs] == [0, 0]
    assert len(pids(server)) == 1


def test_a_second_object_finds_and_stops_the_server_of_a_killed_program(
    server: PrivateMariaDB,
) -> None:
    server.start()
    PrivateMariaDB(server.folder).stop()
    assert pids(server) == []
    assert not server.is_running()


def test_stopping_leaves_no_process_and_stopping_again_does_nothing(
    server: PrivateMariaDB,
) -> None:
    server.start()
    server.stop()
    server.stop()
    assert pids(server) == []
    PrivateMariaDB(server.folder / "never-started").stop()


def test_data_password_and_port_survive_a_kill(server: PrivateMariaDB) -> None:
    server.start()
    env = server.db_env("memory")
    server.create_database("memory")
    with server.connect("memory") as connection:
        connection.cmd_query("CREATE TABLE t (n INT) ENGINE=InnoDB")
        connection.cmd_query("INSERT INTO t VALUES (7)")
    server.kill()
    assert not server.is_running()
    server.start()
    assert server.db_env("memory") == env
    assert answer(server, "SELECT n FROM memory.t") == 7


def test_leftovers_of_a_killed_start_are_cleared(server: PrivateMariaDB) -> None:
    half_made = server.folder / "data.new-0000"
    half_made.mkdir(parents=True)
    server.socket_path.touch()
    (server.folder / "mariadb.pid").write_text(str(psutil.Process().pid))
    server.start()
    assert answer(server, "SELECT 1") == 1
    assert not half_made.exists()


def test_a_path_too_long_for_a_socket_works_and_is_cleaned_up(tmp_path: Path) -> None:
    server = PrivateMariaDB(tmp_path / ("long-" * 20) / "server")
    server.start()
    outside = server.socket_path.parent
    try:
        assert answer(server, "SELECT 1", unix_socket=server.db_env()["DB_SOCKET"]) == 1
        assert stat.S_IMODE(outside.stat().st_mode) == 0o700
        assert server.folder not in server.socket_path.parents
    finally:
        server.stop()
    assert not outside.exists()


def test_a_path_with_spaces_and_quotes_works(tmp_path: Path) -> None:
    server = PrivateMariaDB(tmp_path / "it's my bot's folder" / "data base")
    server.start()
    try:
        assert answer(server, "SELECT 1") == 1
    finally:
        server.stop()


def test_two_servers_run_beside_each_other(server: PrivateMariaDB, tmp_path: Path) -> None:
    other = PrivateMariaDB(tmp_path / "other")
    server.start()
    other.start()
    try:
        assert server.db_env()["DB_PORT"] != other.db_env()["DB_PORT"]
        other.create_database("mine")
        assert (
            answer(
                server,
                "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'mine'",
            )
            == 0
        )
        server.stop()
        assert other.is_running()
    finally:
        other.stop()


def test_only_the_owner_can_read_the_password_and_no_account_works_without_one(
    mariadb_server: PrivateMariaDB,
) -> None:
    for name in ("password", "accounts.sql", "server.json"):
        assert stat.S_IMODE((mariadb_server.folder / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(mariadb_server.folder.stat().st_mode) == 0o700
    env = mariadb_server.db_env()
    for user in ("root", "dca", ""):
        with pytest.raises(mysql.connector.Error, match="Access denied"):
            mysql.connector.connect(
                host=env["DB_HOST"], port=int(env["DB_PORT"]), user=user, password="", use_pure=True
            )


def test_it_listens_on_loopback_only_and_is_durable_and_speaks_utf8(
    mariadb_server: PrivateMariaDB,
) -> None:
    (process,) = servers_below(mariadb_server.folder)
    listening = [c.laddr.ip for c in process.net_connections("inet") if c.status == "LISTEN"]
    assert listening == ["127.0.0.1"]
    assert answer(mariadb_server, "SELECT @@innodb_flush_log_at_trx_commit") == 1
    mariadb_server.create_database("text")
    assert (
        answer(
            mariadb_server,
            "SELECT default_collation_name FROM information_schema.schemata "
            "WHERE schema_name = 'text'",
        )
        == "utf8mb4_unicode_ci"
    )


def test_the_server_stands_in_its_own_session_so_ctrl_c_does_not_reach_it(
    mariadb_server: PrivateMariaDB,
) -> None:
    (process,) = servers_below(mariadb_server.folder)
    session = int(Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[3])
    assert session == process.pid


def test_a_port_taken_in_the_meantime_is_replaced(server: PrivateMariaDB, tmp_path: Path) -> None:
    server.start()
    port = server.db_env()["DB_PORT"]
    server.stop()
    with socket.create_server(("127.0.0.1", int(port))):
        server.start()
        assert server.db_env()["DB_PORT"] != port


def test_a_server_that_cannot_start_says_why_in_one_line(server: PrivateMariaDB) -> None:
    server.start()
    server.stop()
    system_tablespace = server.folder / "data" / "ibdata1"
    system_tablespace.write_bytes(b"not a tablespace")
    with pytest.raises(
        MariaDBError, match=r"MariaDB ended while starting: .+ \(see .+mariadb\.log\)"
    ):
        server.start()
    assert not server.is_running()


def test_settings_of_a_server_that_was_never_started_are_refused(server: PrivateMariaDB) -> None:
    with pytest.raises(MariaDBError, match="start it first"):
        server.db_env()


@pytest.mark.parametrize("name", ["", "a`b", "x; DROP DATABASE mysql", "a" * 65])
def test_a_name_that_is_no_database_name_is_refused(server: PrivateMariaDB, name: str) -> None:
    with pytest.raises(ValueError, match="is not a database name"):
        server.create_database(name)


def test_a_new_run_removes_what_a_killed_run_left_but_not_what_runs(tmp_path: Path) -> None:
    program = (
        "import sys, os, pathlib\n"
        "from local_stack.scratch import scratch_folder\n"
        "from mariadb_server.server import PrivateMariaDB\n"
        "with scratch_folder('test', pathlib.Path(sys.argv[1])) as folder:\n"
        "    PrivateMariaDB(folder / 'mariadb').start()\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    with scratch_folder("test", tmp_path) as living:
        killed = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
        assert killed.returncode == -9
        assert len(list(servers_below(tmp_path))) == 1
        with scratch_folder("test", tmp_path) as newer:
            assert set(tmp_path.glob("test-*")) == {living, newer}
            assert list(servers_below(tmp_path)) == []
    assert list(tmp_path.glob("test-*")) == []


def test_a_program_that_cannot_create_the_folder_gives_way_to_the_next(tmp_path: Path) -> None:
    confined = tmp_path / "mysqld"
    confined.write_text("#!/bin/sh\nexit 1\n")
    confined.chmod(0o755)
    works = next(candidates())
    data, log = tmp_path / "data", tmp_path / "log"
    assert create_data_folder(data, [ServerBinaries(confined), works], log) == works
    assert (data / "ibdata1").exists()
    with pytest.raises(MariaDBError, match="mysqld could not create a data folder"):
        create_data_folder(tmp_path / "other", [ServerBinaries(confined)], log)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "log", "mysqld", "tmp"]


def test_a_server_keeps_its_temporary_tables_where_no_other_server_removes_them(
    tmp_path: Path,
) -> None:
    server = PrivateMariaDB(tmp_path / "server")
    server.start()
    try:
        with server.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT @@tmpdir")
            assert cursor.fetchone() == (str(tmp_path / "server" / "tmp"),)
    finally:
        server.stop()
