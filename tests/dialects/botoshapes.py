"""The description of a service that botocore brings, as what answers are checked against."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.session

_NUMBERS = {"integer", "long", "float", "double", "timestamp"}
# Values that lists of the description lack. Clients take these lists as open: the vendor adds to them.
_FURTHER = {
    "OperationType": {
        *("CreateKeyPair", "ImportKeyPair", "DeleteKeyPair"),
        *("TagResource", "UntagResource", "DeleteAutoSnapshot"),
    }
}


class Service:
    """Shapes of each operation's input and output."""

    def __init__(self, name: str) -> None:
        self.model: Any = botocore.session.get_session().get_service_model(name)
        self.operations: frozenset[str] = frozenset(self.model.operation_names)

    def problems(self, name: str, body: Any) -> list[str]:
        """What an answer has that its shape does not allow."""
        return list(_problems(self.model.operation_model(name).output_shape, body, name))

    def members(self, name: str, body: Any) -> tuple[set[str], set[str]]:
        """Documented members that an answer has, and all that it could have where there is something of their kind."""
        seen: set[str] = set()
        known: set[str] = set()
        _walk(self.model.operation_model(name).output_shape, body, "", seen, known)
        return seen, known


def _problems(shape: Any, value: Any, place: str) -> Iterator[str]:
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(value, dict):
            yield f"{place} is {value!r}"
            return
        for name, inner in value.items():
            if name not in shape.members:
                yield f"{place}.{name} is not documented"
            else:
                yield from _problems(shape.members[name], inner, f"{place}.{name}")
        yield from (f"{place}.{name} is missing" for name in shape.required_members if name not in value)
    elif kind == "list":
        if not isinstance(value, list):
            yield f"{place} is {value!r}"
            return
        for number, inner in enumerate(value):
            yield from _problems(shape.member, inner, f"{place}[{number}]")
    else:
        yield from _problems_of_plain(shape, value, place)


def _problems_of_plain(shape: Any, value: Any, place: str) -> Iterator[str]:
    kind = shape.type_name
    if kind == "boolean":
        fits = isinstance(value, bool)
    elif kind in {"integer", "long"}:
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif kind in _NUMBERS:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    elif kind == "string":
        allowed = {*(getattr(shape, "enum", None) or ())}
        fits = isinstance(value, str) and (not allowed or value in allowed | _FURTHER.get(shape.name, set()))
    else:
        raise AssertionError(f"{place} has the unknown type {kind}")
    if not fits:
        yield f"{place} is {value!r}, which is no {shape.name}"


def _walk(shape: Any, value: Any, place: str, seen: set[str], known: set[str]) -> None:
    if shape.type_name == "list":
        for inner in value:
            _walk(shape.member, inner, place, seen, known)
    if shape.type_name == "structure":
        for name, inner in shape.members.items():
            where = f"{place}.{name}" if place else name
            known.add(where)
            if name in value:
                seen.add(where)
                _walk(inner, value[name], where, seen, known)


@cache
def lightsail() -> Service:
    return Service("lightsail")
