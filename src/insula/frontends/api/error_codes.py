"""Every error code of the product, read from its sources: where an error is made, its code stands as a literal."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import insula
from insula.base import errors
from insula.base.errors import InsulaError

_KINDS = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, InsulaError)}

_MEANING = re.compile(r"(\w+) {3,}(\S.*)")


@dataclass(frozen=True)
class ErrorCode:
    """A code with the class of its errors and the words of one of them; `…` stands for what differs."""

    code: str
    kind: type[InsulaError]
    what: str


def error_codes() -> list[ErrorCode]:
    """All codes, each once, in the order of the alphabet."""
    found: dict[str, ErrorCode] = {}
    for source in sorted(Path(insula.__file__).parent.rglob("*.py")):
        tree = ast.parse(source.read_text())
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
                for code in _codes_in(function):
                    known = found.get(code.code)
                    if known is None or not known.what:
                        found[code.code] = code
    meanings = dict(_MEANING.findall(errors.__doc__ or ""))
    for name, kind in _KINDS.items():
        # A class's own code is for whatever has no narrower one: its words are the tree's, not those of one place.
        found[kind.default_code] = ErrorCode(kind.default_code, kind, meanings[name])
    return [found[code] for code in sorted(found)]


def _codes_in(scope: ast.AST) -> Iterator[ErrorCode]:
    makers = _makers(scope)
    for node in ast.walk(scope):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        kind = _KINDS.get(name) or makers.get(name)
        if kind is None:
            continue
        code = next((_literal(k.value) for k in node.keywords if k.arg == "code"), "")
        what = _literal(node.args[0]) if node.args and name in _KINDS else ""
        if code or name in _KINDS:
            yield ErrorCode(code or kind.default_code, kind, what)


def _makers(scope: ast.AST) -> dict[str, type[InsulaError]]:
    """Names of a module that stand for one kind of error: functions that make it, variables that hold its class."""
    if not isinstance(scope, ast.Module):
        return {}
    found: dict[str, type[InsulaError]] = {}
    for node in ast.walk(scope):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and len(kinds := _made_in(node)) == 1:
            found[node.name] = kinds[0]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            held = [part.id for part in ast.walk(node.annotation) if isinstance(part, ast.Name) and part.id in _KINDS]
            if held:
                found[node.target.id] = _KINDS[held[0]]
    return found


def _made_in(function: ast.AST) -> list[type[InsulaError]]:
    called = (node.func for node in ast.walk(function) if isinstance(node, ast.Call))
    names = sorted({node.id for node in called if isinstance(node, ast.Name)})
    return [_KINDS[name] for name in names if name in _KINDS]


def _literal(node: ast.expr) -> str:
    """The text of a string, with `…` for its fields."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)  # type: ignore[misc]
    if isinstance(node, ast.IfExp):
        return _literal(node.body)
    return ""
