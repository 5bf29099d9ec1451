"""How every caretaker script starts, ends and speaks."""

import fcntl
import json
import sys

import pytest

from caretakers import runner as script_shell
from caretakers.runner import Script, StepFailed, run_script
from config import get_settings, reset_settings
from models.meta import put_meta
from runtime.script_runs import load_script_runs
from utils.db_utils import DatabaseUnavailable

SCRIPT = Script(name="try_out", summary="Tries.", manual="Tries things.", needs_database=False)
STEP = {"action": "try", "symbol": "BTC/USD", "reason": "it was there"}


@pytest.fixture
def run(bot_environment, monkeypatch, capsys):
    """Run work in the shell; gives exit code, standard output, standard error."""

    def call(work, *arguments, script=SCRIPT):
        monkeypatch.setattr(sys, "argv", ["try_out", *arguments])
        code = run_script(script, work)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def plan_one(perform):
    return lambda run: run.step(STEP, perform)


def test_nothing_to_do_is_exit_code_0(run):
    assert run(lambda one: None) == (0, "try_out: nothing to do\n", "")


def test_what_was_done_is_said(run):
    code, out, err = run(plan_one(lambda: "well"))
    assert (code, out, err) == (0, "try_out: done: try BTC/USD: it was there (well)\n", "")


def test_a_dry_run_says_what_it_would_do_and_leaves_no_record(run):
    code, out, _ = run(plan_one(lambda: pytest.fail("it did it")), "--dry-run")
    assert (code, out) == (0, "try_out: would try BTC/USD: it was there\n")
    assert load_script_runs(get_settings().run_dir) == []


def test_json_is_one_object_with_plan_done_and_failed(run):
    def work(one):
        one.step(STEP, lambda: None)
        one.step(STEP | {"action": "fail"}, lambda: (_ for _ in ()).throw(StepFailed("no")))

    code, out, _ = run(work, "--json")
    failed = STEP | {"action": "fail"}
    assert code == 1
    assert json.loads(out) == {
        "script": "try_out",
        "plan": [STEP, failed],
        "done": [STEP],
        "failed": [failed | {"error": "no"}],
    }


def test_a_step_that_fails_lets_the_others_go_on_and_ends_in_exit_code_1(run):
    def refuse():
        raise StepFailed("not now")

    def work(one):
        one.step(STEP, refuse)
        one.step(STEP, lambda: "after all")

    code, out, err = run(work)
    assert (code, out) == (1, "try_out: done: try BTC/USD: it was there (after all)\n")
    assert err == "try_out: FAILED: try BTC/USD: it was there (not now)\n"


def test_quiet_says_only_what_went_wrong(run):
    assert run(plan_one(lambda: None), "--quiet") == (0, "", "")


def test_settings_problems_are_one_line_each_and_exit_code_2(run, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setenv("DB_PORT", "nowhere")
        broken.delenv("ALPACA_API_KEY")
        reset_settings()
        code, out, err = run(lambda one: pytest.fail("it ran"))
    reset_settings()
    assert (code, out) == (2, "")
    assert sorted(line.split(":")[1].split()[0] for line in err.splitlines()) == [
        "ALPACA_API_KEY",
        "DB_PORT",
    ]


def test_a_log_folder_that_cannot_be_written_is_a_settings_problem(run, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LOG_DIR", str(tmp_path / "file" / "logs"))
    reset_settings()
    code, _, err = run(lambda one: pytest.fail("it ran"))
    assert code == 2
    assert "Not a directory: LOG_DIR in .env must name a place in a folder" in err


def test_wrong_arguments_are_exit_code_2(run):
    with pytest.raises(SystemExit) as ended:
        run(lambda one: pytest.fail("it ran"), "--what")
    assert ended.value.code == 2


def test_help_teaches(run, capsys):
    with pytest.raises(SystemExit) as ended:
        run(lambda one: pytest.fail("it ran"), "--help")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for word in ("Tries things.", "--dry-run", "--json", "exit codes", "LOG_DIR/try_out.log"):
        assert word in text


def test_a_second_run_says_that_another_is_under_way_and_leaves(run):
    lock_path = get_settings().run_dir / "try_out.lock"
    lock_path.parent.mkdir(parents=True, exist_ok=True)
    with open(lock_path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, _, err = run(lambda one: pytest.fail("it ran"))
        assert (code, err) == (0, "try_out: another run is under way: nothing done\n")
        assert load_script_runs(get_settings().run_dir) == []
        assert run(lambda one: None, "--dry-run")[0] == 0, "reading disturbs nobody"
    assert run(lambda one: None)[0] == 0


def test_the_database_is_tried_a_few_times_and_what_was_done_stays(run, monkeypatch):
    monkeypatch.setattr(script_shell, "DATABASE_WAITS_SECONDS", (0.0, 0.0))
    tries = []

    def work(one):
        tries.append(1)
        if len(tries) == 1:
            one.step(STEP, lambda: None)
        one.step(STEP | {"action": "again"}, lambda: None)
        if len(tries) < 3:
            raise DatabaseUnavailable("gone for a moment")

    code, out, _ = run(work, "--json")
    assert code == 0
    assert len(tries) == 3
    assert [step["action"] for step in json.loads(out)["done"]] == ["try", *["again"] * 3]


def test_a_database_that_stays_away_is_one_clear_line_and_exit_code_1(run, monkeypatch):
    monkeypatch.setattr(script_shell, "DATABASE_WAITS_SECONDS", (0.0, 0.0))

    def work(one):
        raise DatabaseUnavailable("cannot use the database")

    code, out, err = run(work)
    assert (code, out) == (1, "")
    assert err == "try_out: could not finish: cannot use the database\n"
    [record] = load_script_runs(get_settings().run_dir)
    assert (record.exit_code, record.reason) == (1, "cannot use the database")


def test_a_fault_of_the_program_is_a_line_too_and_its_trace_is_in_the_log(run):
    def work(one):
        raise RuntimeError("a bug")

    code, _, err = run(work)
    line = "try_out: could not finish: a fault of the program (RuntimeError): see the log\n"
    assert (code, err) == (1, line)
    assert "Traceback" in (get_settings().log_dir / "try_out.log").read_text()


def test_the_last_run_is_on_record(run):
    run(plan_one(lambda: None))
    [record] = load_script_runs(get_settings().run_dir)
    assert (record.script, record.exit_code, record.done, record.failed) == ("try_out", 0, 1, 0)
    assert record.started_at <= record.finished_at
    (get_settings().run_dir / "broken.last_run.json").write_text("{")
    assert load_script_runs(get_settings().run_dir) == [record], "a broken record is none"


def test_a_database_without_our_tables_is_refused(run):
    script = Script(name="try_out", summary="", manual="", needs_database=True)
    code, _, err = run(lambda one: pytest.fail("it ran"), script=script)
    assert code == 1
    assert "run scripts/setup" in err


def test_a_database_of_another_account_is_refused_also_in_a_dry_run(run, exchange, db_conn):
    script = Script(name="try_out", summary="", manual="", needs_exchange=True)
    assert run(lambda one: None, "--dry-run", script=script)[0] == 0
    put_meta(db_conn, "alpaca_account_id", "somebody-else")
    for arguments in ((), ("--dry-run",)):
        code, _, err = run(lambda one: pytest.fail("it ran"), *arguments, script=script)
        assert code == 1
        assert "belongs to Alpaca account somebody-else" in err


def test_secrets_do_not_reach_the_log(run):
    def work(one):
        raise RuntimeError(f"with {get_settings().alpaca_secret_key}")

    code, _, err = run(work)
    assert code == 1
    assert "local-secret" not in (get_settings().log_dir / "try_out.log").read_text()
    assert "local-secret" not in err
