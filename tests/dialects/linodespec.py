"""Linode's specification as its command line carries it: the fields of each operation's answer, with their types."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

# In a process of its own: the package reads its command line and its user's settings when it is imported.
_READ = """
import json, pickle, sys
sys.argv = ["linode-cli", "--skip-config"]
import linodecli
groups = pickle.load(open(linodecli.__path__[0] + "/data-3", "rb"))
print(json.dumps({
    f"{group}.{name}": {
        "method": one.method,
        "path": one.url_path,
        "is_list": bool(one.response_model and one.response_model.is_paginated),
        "fields": [
            [field.name, field.datatype, field.item_type]
            for field in (one.response_model.attrs if one.response_model else ())
        ],
    }
    for group, operations in groups.items() if isinstance(operations, dict)
    for name, one in operations.items() if hasattr(one, "url_path")
}))
"""
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "string": str,
    "array": list,
    "object": (dict, list),
}
# These describe alternatives, of which the package keeps no types.
_UNTYPED = ("networking.ip", "networking.reserved-ip", "tags.get-tagged-objects")
# Told as texts, and described as something that is so or not.
_CORRECTED = {"is_shared": "boolean"}
# What answers have in their lists; these are no pages.
_INSIDE = {"linodes.backups-list": ("automatic", "snapshot.current", "snapshot.in_progress")}
# Pages, which the package takes for single things.
_PAGED = ("firewalls.versions-list",)
# Told in a part of the answer as it is documented, and once more beside.
_BESIDE = {"firewalls.version-view": "rules."}
_OUR_PATHS = {"imageId": "{kind}/{image}", "kernelId": "linode/{kernel}"}


class LinodeSpecification:
    """See :class:`tests.dialects.contract.Documented`. `others` are fields of answers that it does not know of."""

    def __init__(self, operations: Mapping[str, Any], others: Mapping[str, str]) -> None:
        self._operations = operations
        self._others = others

    def knows(self, name: str) -> bool:
        return name in self._operations

    def place(self, name: str) -> tuple[str, str]:
        path = self._operations[name]["path"].removeprefix("/{apiVersion}")
        for theirs, ours in _OUR_PATHS.items():
            path = path.replace(f"{{{theirs}}}", ours)
        return self._operations[name]["method"].upper(), path

    def problems(self, name: str, status: int, body: Any) -> list[str]:
        found = []
        if self._is_list(name):
            found += [
                f"{one} is no number" for one in ("page", "pages", "results") if not isinstance(body.get(one), int)
            ]
            found += [] if set(body) == {"data", "page", "pages", "results"} else [f"a page with {sorted(body)}"]
        documented = {field[0]: field for field in self._fields(name)}
        if name.startswith("networking.ip"):  # of the alternatives, the package keeps what they have in common
            documented = {field[0]: field for field in self._fields("linodes.ip-view")} | documented
        if not documented:
            return found  # the package tells nothing of it
        for item in self._items(name, body):
            for told, value in _leaves(item, ""):
                if name.startswith(_UNTYPED) and told.partition(".")[0] in documented:
                    continue
                place = _documented_place(name, told, documented)
                if place not in documented:
                    if not _is_around_or_inside(place, documented):
                        found += [] if place.rpartition(".")[2] in self._others else [f"{place} is not documented"]
                elif not self._fits(name, documented[place], value):
                    found.append(f"{place} is {value!r}, not {documented[place][1]}")
        return found

    def _fits(self, name: str, field: Sequence[Any], value: Any) -> bool:
        if value is None or name.startswith(_UNTYPED):
            return True
        kind, item = _CORRECTED.get(field[0], field[1]), field[2]
        if kind == "boolean" or not isinstance(value, bool):
            expected = _TYPES[kind]
            if not isinstance(value, expected):
                return False
        else:
            return False
        if isinstance(value, list) and item in _TYPES:
            return all(isinstance(one, _TYPES[item]) for one in value)
        return True

    def absent(self, name: str, status: int, body: Any) -> set[str]:
        items = list(self._items(name, body))
        return {field[0] for field in self._fields(name) if items and not any(_has(one, field[0]) for one in items)}

    def _is_list(self, name: str) -> bool:
        return name in _PAGED or bool(self._operations[name]["is_list"])

    def _fields(self, name: str) -> Sequence[Sequence[Any]]:
        fields: Sequence[Sequence[Any]] = self._operations[name]["fields"]
        return fields

    def _items(self, name: str, body: Any) -> Iterator[Any]:
        if name in _INSIDE:
            for place in _INSIDE[name]:
                found: Any = body
                for part in place.split("."):
                    found = found[part]
                yield from found if isinstance(found, list) else [found] if found else []
        elif self._is_list(name):
            yield from body["data"]
        elif isinstance(body, list):
            yield from body
        else:
            yield body


def _documented_place(name: str, told: str, documented: Mapping[str, Any]) -> str:
    is_beside = not any(f"{one}.".startswith(f"{told}.") for one in documented)
    return f"{_BESIDE.get(name, '')}{told}" if is_beside else told


def _is_around_or_inside(place: str, documented: Mapping[str, Sequence[Any]]) -> bool:
    """Whether it has documented fields, or is in an object of which nothing more is told."""
    parts = place.split(".")
    above = [".".join(parts[:length]) for length in range(1, len(parts))]
    return any(one.startswith(f"{place}.") for one in documented) or any(
        one in documented and documented[one][1] == "object" for one in above
    )


def _leaves(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """All that is in a value; what is in a list has the list's place."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{place}.{name}" if place else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for inner in value:
            yield from _leaves(inner, place)
    elif place:
        yield place, value


def _has(value: Any, place: str) -> bool:
    """Whether it is there, or would be if what it is in were not empty."""
    first, _, rest = place.partition(".")
    if isinstance(value, list):
        return not value or any(_has(one, place) for one in value)
    if value is None:
        return True
    if not isinstance(value, dict) or first not in value:
        return False
    return not rest or _has(value[first], rest)


@cache
def _operations() -> Mapping[str, Any]:
    environment = {**os.environ, "LINODE_CLI_TOKEN": "none"}
    done = subprocess.run([sys.executable, "-c", _READ], env=environment, capture_output=True, text=True, check=True)
    found: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def linode(others: Mapping[str, str]) -> LinodeSpecification:
    return LinodeSpecification(_operations(), others)
