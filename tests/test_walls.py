"""The walls of the house, read from its imports: who may know whom, who alone may touch what."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from config import PROJECT_ROOT

SRC = PROJECT_ROOT / "src"
SCRIPTS = PROJECT_ROOT / "scripts"
MODULES = {
    ".".join(path.relative_to(SRC).with_suffix("").parts): path
    for path in sorted(SRC.rglob("*.py"))
    if path.name != "__init__.py"
}
ROOMS = {name.partition(".")[0] for name in MODULES}
PROGRAMS = [path for path in sorted(SCRIPTS.iterdir()) if path.suffix == ".py"]


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imports_of(path: Path) -> Iterator[str]:
    """The modules a file imports, wherever in it; `from . import x` counts as its own room."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                module = f"{path.relative_to(SRC).parts[0]}.{module}".rstrip(".")
            yield module
            yield from (
                f"{module}.{alias.name}"
                for alias in node.names
                if f"{module}.{alias.name}" in MODULES
            )


@cache
def ours(path: Path) -> frozenset[str]:
    """The project's own modules that a file imports (a whole room: its name)."""
    return frozenset(name for name in imports_of(path) if name.partition(".")[0] in ROOMS)


def modules_in(room: str) -> dict[str, Path]:
    return {name: path for name, path in MODULES.items() if name.partition(".")[0] == room}


# Which rooms a room may reach, also through what it imports. One that is missing here has no walls
# yet: give it some. `domain` and `strategy` need no driver and no SDK: see below.
BELOW = {"config", "domain", "utils"}
THE_BOT = BELOW | {"models", "runtime", "strategy", "trading"}
MAY_REACH = {
    "config": set(),
    "domain": {"domain"},
    "strategy": {"domain", "strategy"},
    "utils": BELOW,
    "models": BELOW | {"models"},
    "runtime": BELOW | {"runtime"},
    "trading": THE_BOT,
    "main_app": THE_BOT,
    "caretakers": THE_BOT | {"caretakers", "performance"},  # what the summary of a day says
    "operations": THE_BOT | {"operations"},
    "performance": BELOW | {"models", "performance", "strategy"},
    "monitoring": THE_BOT | {"caretakers", "monitoring"},
    # A front end beside the command line, in the same words.
    "telegram": THE_BOT
    | {"caretakers", "cli", "monitoring", "operations", "performance", "telegram"},
    # The page: the same operations and words as the command line, which it does not know.
    "web": THE_BOT | {"caretakers", "monitoring", "operations", "performance", "research", "web"},
    # A replay earns by the same figures as the bot: cycle results, capital, report, pictures.
    "research": BELOW | {"performance", "research", "strategy"},
    "mariadb_server": BELOW | {"mariadb_server", "runtime"},
    "paper_exchange": {"paper_exchange"},
    "local_stack": ROOMS - {"cli", "main_app"},
    "cli": ROOMS - {"main_app"},
}


@cache
def reached_by(name: str) -> frozenset[str]:
    """The modules of ours that loading `name` loads, itself among them."""
    found, waiting = {name}, [name]
    while waiting:
        for module in ours(MODULES[waiting.pop()]) & MODULES.keys() - found:
            found.add(module)
            waiting.append(module)
    return frozenset(found)


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_reaches_only_the_rooms_it_may_know(room):
    for name in modules_in(room):
        strangers = {
            module
            for module in reached_by(name)
            if module.partition(".")[0] not in MAY_REACH[room] | {room}
        }
        assert not strangers, f"{name} must not reach {sorted(strangers)}"


def test_the_page_takes_what_it_shows_and_does_from_the_rooms_that_the_command_line_takes_it_from():
    """Not from the engine or the caretakers, which those rooms know."""
    may = BELOW | {"models", "monitoring", "operations", "performance", "research", "runtime"}
    for name, path in modules_in("web").items():
        strangers = {
            one for one in ours(path) if one.partition(".")[0] not in may | {"web", "strategy"}
        }
        assert not strangers, f"{name} must not import {sorted(strangers)}"


def test_models_know_the_database_and_nothing_else_of_the_outside():
    for name, path in modules_in("models").items():
        outside = {module for module in ours(path) if module.startswith("utils")}
        assert outside <= {"utils.db_utils"}, name


def test_domain_and_strategy_load_without_any_third_party_package():
    """A worker that only replays the strategy needs no database driver and no SDK."""
    modules = sorted([*modules_in("domain"), *modules_in("strategy")])
    code = "import importlib, sys; sys.path.insert(0, sys.argv[1])\n"
    code += "for name in sys.argv[2:]: importlib.import_module(name)"
    bare = [sys.executable, "-I", "-S", "-c", code, str(SRC), *modules]
    run = subprocess.run(bare, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")


def test_nobody_imports_the_programs():
    scripts = {path.stem for path in PROGRAMS}
    for name, path in MODULES.items():
        found = {module.partition(".")[0] for module in imports_of(path)}
        assert not found & (scripts | {"main_app", "scripts", "integration_test"}), name


def test_the_bot_never_imports_the_exchange_it_trades_on():
    bot_rooms = ROOMS - {"paper_exchange", "local_stack"}
    for room in bot_rooms:
        for name, path in modules_in(room).items():
            assert not {module for module in ours(path) if module.startswith("paper_")}, name


def test_no_module_reaches_itself_through_its_imports():
    graph = {
        name: {module for module in ours(path) if module in MODULES}
        for name, path in MODULES.items()
    }
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"a circle: {' -> '.join((*way, name))}"
        if name not in done:
            for module in sorted(graph.get(name, ())):
                visit(module, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


# Purity.

IMPURE = {
    "alpaca", "asyncio", "logging", "mysql", "os", "pathlib", "random", "requests", "secrets",
    "socket", "subprocess", "threading", "time",
}  # fmt: skip
PURE_ROOMS = ["domain", "strategy", "caretakers.plans"]


@pytest.mark.parametrize("room", PURE_ROOMS)
def test_a_pure_room_has_no_clock_no_input_and_no_log(room):
    pure = {name: path for name, path in MODULES.items() if name.startswith(f"{room}.")}
    assert pure
    for name, path in pure.items():
        tops = {module.partition(".")[0] for module in imports_of(path)}
        assert not tops & IMPURE, name
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
                called = node.func.id if isinstance(node.func, ast.Name) else called
                forbidden = {"now", "utcnow", "today", "open", "print", "input", "execute_query"}
                assert called not in forbidden, f"{name}:{node.lineno} calls {called}"


def test_only_a_few_rooms_are_async():
    may = {"main_app", "trading.asset_watches", "trading.bot", "trading.market_data_handler"}
    may |= {"trading.cooldown_ends", "trading.dump_guard"}
    may |= {"trading.trade_update_handler", "utils.alpaca_streams", "utils.waiting"}
    may |= {"telegram.poller", "utils.telegram_client"}
    may |= {"monitoring.doctor.stream_probe", "utils.direct_streams", "utils.ready_threads"}
    for name, path in MODULES.items():
        if name.partition(".")[0] in {"paper_exchange", "local_stack", "web"} or name in may:
            continue
        has_async = any(isinstance(node, ast.AsyncFunctionDef) for node in ast.walk(parse(path)))
        assert not has_async, f"{name} should be plain sync, called through a thread"


# What only one module may touch.

# Tools that start processes, not the bot.
OF_THE_PROCESS = {"local_stack", "mariadb_server", "paper_exchange"}
# Of the program that they become or start.
SETS_THE_ENVIRONMENT = {"cli.database", "runtime.bootstrap", "runtime.process_table"}


def test_only_config_reads_the_environment():
    for name, path in MODULES.items():
        if name.partition(".")[0] in {"config", *OF_THE_PROCESS} or name in SETS_THE_ENVIRONMENT:
            continue
        # A terminal's convention is no setting of ours.
        text = path.read_text("utf-8").replace('os.environ.get("NO_COLOR")', "None")
        for node in ast.walk(ast.parse(text)):
            reads = isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
            assert not reads, f"{name}:{node.lineno} reads the environment: ask config"
        assert "dotenv" not in set(imports_of(path)), name


def private_names_touched(path: Path) -> Iterator[tuple[int, str]]:
    """`x._name` on anything but self, cls and super(), where the file does not define `_name`."""
    tree = parse(path)
    own = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }
    own |= {node.name for node in ast.walk(tree) if hasattr(node, "name") and node.name}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not node.attr.startswith("_"):
            continue
        is_self = isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}
        if not node.attr.startswith("__") and not is_self and node.attr not in own:
            yield node.lineno, node.attr


HARMLESS = {
    ("main_app", "_exit"),  # os._exit, which is public whatever it is called
    ("utils.apprise_process", "_exit"),
    ("cli.telegram", "_exit"),
    ("cli.web", "_exit"),
    ("web.tryout_process", "_exit"),
    ("local_stack.loop_monitor", "_current_frames"),  # sys._current_frames, which is public, too
    ("cli.completion", "_actions"),  # argparse lists the options of a parser nowhere else
    ("utils.db_connection", "_netbroker"),  # the driver has no other way to read ahead
    (
        "utils.log_events",
        "_value_",
    ),  # the way in which Enum lets a member carry more than its value
}


# What uses private parts of alpaca-py: an upgrade of the SDK is checked there.
KNOWS_THE_SDK = {"utils.alpaca_http", "utils.alpaca_streams"}


def test_only_who_knows_the_sdk_touches_private_parts_of_others():
    for name, path in {**MODULES, **{path.stem: path for path in PROGRAMS}}.items():
        if name in KNOWS_THE_SDK:
            continue
        touched = [(line, attr) for line, attr in private_names_touched(path)]
        touched = [(line, attr) for line, attr in touched if (name, attr) not in HARMLESS]
        assert not touched, f"{name} touches {touched}"


def test_the_sdk_is_loaded_in_one_place():
    """Which leaves out what no part of the bot needs. A rival of the benchmark takes it bare."""
    for name, path in MODULES.items():
        if name == "utils.alpaca_sdk" or name.startswith("local_stack.benchmark.rivals"):
            continue
        tops = {module.partition(".")[0] for module in imports_of(path)}
        assert "alpaca" not in tops, f"{name}: take it from utils.alpaca_sdk"


SPEAKS_WITH_A_CLUSTER = {"research.cluster", "research.cluster_work", "research.sweep_tpe"}


def test_dask_and_optuna_are_loaded_by_a_sweep_that_needs_them_and_by_nothing_else():
    """They take a second and a half, and a set-up does not even install them."""
    for name, path in MODULES.items():
        tops = {module.partition(".")[0] for module in imports_of(path)}
        if tops & {"dask", "distributed", "optuna"}:
            assert name in SPEAKS_WITH_A_CLUSTER, name
    code = "import sys, cli.sweep, cli.sweep_machines, cli.backtest, cli.completion, main_app\n"
    code += "sys.exit(bool({'dask', 'distributed', 'optuna'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], cwd=SRC, timeout=120).returncode == 0


def test_only_the_rest_client_submits_and_cancels():
    methods = {"post", "delete", "patch", "submit_order", "cancel_order_by_id", "cancel_orders"}
    methods |= {"close_position", "close_all_positions", "replace_order_by_id"}
    rooms = ROOMS - {"paper_exchange", "local_stack"}
    for name, path in MODULES.items():
        if name.partition(".")[0] not in rooms or name == "utils.alpaca_client_rest":
            continue
        for node in ast.walk(parse(path)):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            assert not (called and node.func.attr in methods), f"{name}:{node.lineno}"


def test_only_the_database_module_connects_and_only_models_write_the_tables():
    may_write = {"models", "local_stack"}
    for name, path in MODULES.items():
        if name.partition(".")[0] in may_write or name == "operations.asset_changes":
            continue  # the latter deletes an asset whole, in one transaction
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words = node.value.lstrip().upper().split()[:3]
                writes = words[:1] in (["UPDATE"], ["INSERT"], ["DELETE"], ["REPLACE"])
                assert not (writes and "DCA_" in node.value.upper()), f"{name}:{node.lineno}"
    for name, path in MODULES.items():
        text = path.read_text("utf-8")
        connects = "mysql.connector.connect" in text or " MySQLConnection(" in text
        connects |= "DatabaseConnection(" in text
        may_connect = {"utils.db_utils", "utils.db_connection", "mariadb_server.server"}
        assert not connects or name in may_connect, name


# House style that a machine can see.


def test_every_module_says_on_top_what_it_owns():
    for name, path in MODULES.items():
        assert ast.get_docstring(parse(path)), f"{name} has no docstring"


def test_no_broad_except_without_its_reason():
    for name, path in MODULES.items():
        lines = path.read_text("utf-8").splitlines()
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.ExceptHandler):
                broad = node.type is None or (
                    isinstance(node.type, ast.Name)
                    and node.type.id in {"Exception", "BaseException"}
                )
                reason = "#" in lines[node.lineno - 1]
                cleanup = any(
                    isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node)
                )
                assert not broad or reason or cleanup, f"{name}:{node.lineno}"


def test_no_test_is_skipped():
    for path in sorted((PROJECT_ROOT / "tests").rglob("test_*.py")):
        marks = {node.attr for node in ast.walk(parse(path)) if isinstance(node, ast.Attribute)}
        assert not marks & {"skip", "skipif", "xfail", "importorskip"}, path.name
