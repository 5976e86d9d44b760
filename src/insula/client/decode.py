"""JSON values into the frozen dataclasses of the domain.

msgspec would do this, but importing it costs more than a quarter of what `insula list` may take in all.
"""

from __future__ import annotations

import base64
import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

_T = TypeVar("_T")
_Convert = Callable[[Any], Any]


def build(kind: type[_T], data: Mapping[str, Any]) -> _T:
    """A dataclass from its JSON object; fields that the class does not have are ignored, so that old clients last."""
    return kind(**{name: convert(data[name]) for name, convert in _fields(kind).items() if name in data})


def build_all(kind: type[_T], items: Sequence[Mapping[str, Any]]) -> list[_T]:
    return [build(kind, item) for item in items]


# Looking up type hints is slow; each class is asked once.
_known: dict[type, dict[str, _Convert]] = {}


def _fields(kind: type) -> dict[str, _Convert]:
    if kind not in _known:
        hints = typing.get_type_hints(kind)
        _known[kind] = {field.name: _converter(hints[field.name]) for field in dataclasses.fields(kind)}
    return _known[kind]


def _same(value: Any) -> Any:
    return value


def _converter(hint: Any) -> _Convert:
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        inner = _converter(next(a for a in arguments if a is not type(None)))
        return lambda value: None if value is None else inner(value)
    if origin in (tuple, frozenset, Sequence):
        item, make = _converter(arguments[0]), frozenset if origin is frozenset else tuple
        return lambda value: make(item(entry) for entry in value)
    if isinstance(hint, type):
        return _class_converter(hint)
    return _same


def _class_converter(hint: type) -> _Convert:
    if dataclasses.is_dataclass(hint):
        return lambda value: build(hint, value)
    if issubclass(hint, Enum):
        return hint
    if hint is datetime:
        return lambda value: datetime.fromisoformat(value.replace("Z", "+00:00"))
    if hint is bytes:
        return base64.b64decode
    return _same
