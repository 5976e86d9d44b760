"""The tail of sizes is what makes code hard to take over, so the maxima are policed."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 50
MAX_POSITIONAL_PARAMETERS = 5
DRAWERS = {"util", "utils", "helper", "helpers", "common", "misc", "manager", "managers"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def _exceptions() -> dict[str, set[str]]:
    data = tomllib.loads((Path(__file__).parent / "exceptions.toml").read_text())
    for entry in data.get("module", []) + data.get("function", []):
        assert len(entry["reason"]) > 20, f"give a real reason for {entry}"
    return {
        "module": {entry["path"] for entry in data.get("module", [])},
        "function": {entry["name"] for entry in data.get("function", [])},
    }


def _sources() -> list[Path]:
    folders = [ROOT / "src", ROOT / "tests", ROOT / "bench"]
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def _functions(path: Path) -> Iterator[tuple[str, Function, bool]]:
    """Every function with its dotted name and whether it is a method."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    module = ".".join(parts[1:] if parts[0] == "src" else parts)

    def walk(node: ast.AST, prefix: str, in_class: bool) -> Iterator[tuple[str, Function, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{prefix}.{child.name}", child, in_class
                yield from walk(child, f"{prefix}.{child.name}", False)
            elif isinstance(child, ast.ClassDef):
                yield from walk(child, f"{prefix}.{child.name}", True)
            else:
                yield from walk(child, prefix, in_class)

    yield from walk(ast.parse(path.read_text()), module, False)


def _length(function: Function) -> int:
    """Lines of code of a function: its docstring explains and is not counted."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def _positional(function: Function, is_method: bool) -> int:
    count = len(function.args.posonlyargs) + len(function.args.args)
    static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in function.decorator_list)
    return count - 1 if is_method and not static else count


def _is_handler(function: Function) -> bool:
    """Whether a framework fills the parameters by name (routes, commands, fixtures): they are keywords in effect."""
    return bool(function.decorator_list) and not all(
        isinstance(d, ast.Name) and d.id in {"staticmethod", "classmethod", "property"} for d in function.decorator_list
    )


def test_modules_are_short() -> None:
    allowed = _exceptions()["module"]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in _sources()}
    long = {name: lines for name, lines in lengths.items() if lines > MAX_MODULE_LINES}
    assert {name: lines for name, lines in long.items() if name not in allowed} == {}
    assert allowed - set(long) == set(), "these exceptions are no longer needed"


def test_functions_are_short_and_take_few_positional_parameters() -> None:
    allowed = _exceptions()["function"]
    broken: dict[str, str] = {}
    for path in _sources():
        for name, function, is_method in _functions(path):
            if _length(function) > MAX_FUNCTION_LINES:
                broken[name] = f"{_length(function)} lines"
            elif _positional(function, is_method) > MAX_POSITIONAL_PARAMETERS and not _is_handler(function):
                broken[name] = f"{_positional(function, is_method)} positional parameters"
    assert {name: why for name, why in broken.items() if name not in allowed} == {}
    assert allowed - set(broken) == set(), "these exceptions are no longer needed"


def test_no_module_is_a_drawer() -> None:
    assert [str(path) for path in _sources() if DRAWERS & set(path.stem.split("_"))] == []


@pytest.mark.parametrize(
    "name", ["subprocess", "create_subprocess_exec", "create_subprocess_shell", "os.system", "os.fork"]
)
def test_only_one_module_starts_programs(name: str) -> None:
    users = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                used = any(alias.name == name for alias in node.names)
            elif isinstance(node, ast.Attribute):
                used = name in {node.attr, f"{getattr(node.value, 'id', '')}.{node.attr}"}
            else:
                used = False
            if used:
                users.add(str(path.relative_to(ROOT / "src")))
    # These are programs of their own, which base.run starts; their children become the networks' processes.
    programs = {"insula/node/network/inside.py", "insula/node/network/steward.py"}
    assert users <= {"insula/base/run.py", *programs}


def test_no_command_is_given_to_a_shell() -> None:
    found = [
        f"{path}:{node.value.lineno}"
        for path in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.keyword) and node.arg == "shell"
    ]
    assert found == []
