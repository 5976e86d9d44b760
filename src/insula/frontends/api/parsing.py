"""Bodies and queries into the structs of :mod:`schemas`, with every wrong field named at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints
from urllib.parse import parse_qsl

import msgspec

from insula.base.errors import InvalidInput
from insula.frontends.api.problems import malformed

_S = TypeVar("_S", bound=msgspec.Struct)
_PLACE = re.compile(r" - at `\$(?P<path>.*)`$", re.DOTALL)


def parse_body(kind: type[_S], content: bytes) -> _S:
    """Raises InvalidInput: `malformed-request` when it is no JSON object, else with all wrong fields."""
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        data = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(f"The body is no JSON: {error}") from error
    if not isinstance(data, dict):
        raise malformed("The body must be a JSON object")
    data = {name: _whole_numbers(value) for name, value in data.items()}
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError:
        raise _all_faults(kind, data, strict=True) from None


def parse_query(kind: type[_S], query: bytes) -> _S:
    """Raises InvalidInput with all wrong parameters."""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    data = {name: value for name, value in pairs if value != ""}
    twice = {name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1}
    if twice:
        raise _invalid(dict.fromkeys(sorted(twice), "is given more than once"))
    zeros = {name: "contains a zero byte" for name, value in data.items() if "\x00" in value}
    if zeros:
        raise _invalid(zeros)
    try:
        found = msgspec.convert(data, kind, strict=False)
    except msgspec.ValidationError:
        raise _all_faults(kind, data, strict=False) from None
    # msgspec takes the word null for nothing; in a query it is a word like others, and fits none of these.
    nulls = {name: "cannot be null" for name in data if getattr(found, name) is None}
    if nulls:
        raise _invalid(nulls)
    return found


def _whole_numbers(value: Any) -> Any:
    """JSON has one kind of number: 2.0 is as good an integer as 2 (JSON Schema, section 4.2.3)."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    if isinstance(value, dict):
        return {name: _whole_numbers(item) for name, item in value.items()}
    return value


def _all_faults(kind: type[msgspec.Struct], data: Mapping[str, Any], *, strict: bool) -> InvalidInput:
    """msgspec stops at the first fault; people want to mend all of them."""
    hints = get_type_hints(kind, include_extras=True)
    required = {field.name for field in msgspec.structs.fields(kind) if field.required}
    faults = dict.fromkeys(sorted(required - set(data)), "is required")
    for name, value in data.items():
        if name not in hints:
            faults[name[:80]] = f"is unknown; known are {', '.join(hints)}" if hints else "is unknown; there are none"
            continue
        try:
            msgspec.convert(value, hints[name], strict=strict)
        except msgspec.ValidationError as error:
            place = _PLACE.search(str(error))
            message = str(error)[: place.start()] if place else str(error)
            faults[name + (place["path"] if place else "")] = _told(message, hints[name])
    return _invalid(faults)


def _told(message: str, hint: Any) -> str:
    """msgspec's words and, where a rule has words of its own, those."""
    for part in (hint, *getattr(hint, "__args__", ())):
        for note in getattr(part, "__metadata__", ()):
            if isinstance(note, msgspec.Meta) and note.description:
                # A regular expression tells people less than the rule that it stands for.
                return (
                    f"must be {note.description}" if "matching regex" in message else f"{message} ({note.description})"
                )
    return message


def _invalid(faults: Mapping[str, str]) -> InvalidInput:
    listed = "; ".join(f"{name}: {message}" for name, message in faults.items())
    return InvalidInput(
        "The request has wrong fields" if len(faults) > 1 else "The request has a wrong field",
        why=listed,
        todo="Correct them and send it again",
        fields=faults,
    )
