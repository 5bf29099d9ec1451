"""The walls of the house, read from its imports: who may know whom, who alone may touch what."""

from __future__ import annotations

import ast
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


def ours(path: Path) -> set[str]:
    """The project's own modules that a file imports (a whole room: its name)."""
    return {name for name in imports_of(path) if name.partition(".")[0] in ROOMS}


def modules_in(room: str) -> dict[str, Path]:
    return {name: path for name, path in MODULES.items() if name.partition(".")[0] == room}


# What a room may import of ours. A room that is missing here has no walls yet: give it some.
THE_BOT = {
    "buy_limits", "cycle_changes", "market_data_handler", "order_lists", "order_placement",
    "reconciler", "stall_watch", "symbol_watch", "trade_update_handler", "unclaimed_orders",
}  # fmt: skip
BELOW_THE_BOT = {"config", "models", "strategy", "utils"}
MAY_IMPORT = {
    "config": set(),
    "models": {"models", "utils.db_utils"},
    "strategy": {"strategy", "models"},
    "caretakers": {"caretakers", "strategy", "models"},
    "utils": {"utils", "models", "config"},
    "paper_exchange": {"paper_exchange"},
    **{module: BELOW_THE_BOT | THE_BOT for module in THE_BOT},
    "main_app": BELOW_THE_BOT | THE_BOT,
    "caretaker_work": BELOW_THE_BOT | THE_BOT | {"caretakers", "caretaker_work"},
    "steering": BELOW_THE_BOT | THE_BOT | {"steering"},
    # The tools that show share their words, tables and exit codes with the tools that steer.
    "insight": BELOW_THE_BOT
    | THE_BOT
    | {"caretakers", "caretaker_work", "insight"}
    | {"steering.asset_text", "steering.command_line", "steering.refused"},
    "local_stack": ROOMS - {"main_app"},
}


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_only_what_it_may_know(room):
    allowed = MAY_IMPORT[room]
    for name, path in modules_in(room).items():
        strangers = {
            module
            for module in ours(path)
            if module not in allowed and module.partition(".")[0] not in allowed
        }
        assert not strangers, f"{name} must not import {sorted(strangers)}"


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
        if not name.startswith("paper_exchange")  # relative imports of packages are its own affair
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
PURE_ROOMS = ["strategy", "caretakers"]


@pytest.mark.parametrize("room", PURE_ROOMS)
def test_a_pure_room_has_no_clock_no_input_and_no_log(room):
    for name, path in modules_in(room).items():
        tops = {module.partition(".")[0] for module in imports_of(path)}
        assert not tops & IMPURE, name
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
                called = node.func.id if isinstance(node.func, ast.Name) else called
                forbidden = {"now", "utcnow", "today", "open", "print", "input", "execute_query"}
                assert called not in forbidden, f"{name}:{node.lineno} calls {called}"


def test_only_a_few_rooms_are_async():
    may = {"main_app", "market_data_handler", "trade_update_handler"}
    may |= {"utils.alpaca_streams", "utils.waiting"}
    for name, path in MODULES.items():
        if name.partition(".")[0] in {"paper_exchange", "local_stack", "insight"} or name in may:
            continue
        has_async = any(isinstance(node, ast.AsyncFunctionDef) for node in ast.walk(parse(path)))
        assert not has_async, f"{name} should be plain sync, called through a thread"


# What only one module may touch.

OF_THE_PROCESS = {"local_stack", "paper_exchange"}  # tools that start processes, not the bot


def test_only_config_reads_the_environment():
    for name, path in MODULES.items():
        if name == "config" or name.partition(".")[0] in OF_THE_PROCESS:
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
    ("insight.quote_benchmark", "_watches"),  # it measures the inside of the quote path
}


def test_only_alpaca_streams_touches_private_parts_of_others():
    for name, path in {**MODULES, **{path.stem: path for path in PROGRAMS}}.items():
        if name == "utils.alpaca_streams":
            continue
        touched = [(line, attr) for line, attr in private_names_touched(path)]
        touched = [(line, attr) for line, attr in touched if (name, attr) not in HARMLESS]
        assert not touched, f"{name} touches {touched}"


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
        if name.partition(".")[0] in may_write or name == "steering.asset_changes":
            continue  # the latter deletes an asset whole, in one transaction
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words = node.value.lstrip().upper().split()[:3]
                writes = words[:1] in (["UPDATE"], ["INSERT"], ["DELETE"], ["REPLACE"])
                assert not (writes and "DCA_" in node.value.upper()), f"{name}:{node.lineno}"
    for name, path in MODULES.items():
        connects = "mysql.connector.connect" in path.read_text("utf-8")
        assert not connects or name in {"utils.db_utils", "local_stack.mariadb"}, name


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
