"""The header X-Filter: which of a list are wanted, in which order. Source: Linode's API, "Filtering and sorting"."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from insula.base.errors import InvalidInput

_DEEPEST = 10
_Shown = Mapping[str, Any]


def filtered(shown: Sequence[_Shown], text: str) -> list[_Shown]:
    """Raises InvalidInput for a filter that is none."""
    conditions = wanted(text)
    by, order = conditions.pop("+order_by", None), conditions.pop("+order", "asc")
    found = [one for one in shown if _fits(one, conditions, 0)]
    if by is None:
        return found
    if not isinstance(by, str) or order not in ("asc", "desc"):
        raise _wrong("+order_by is a field's name, +order is asc or desc")
    return sorted(found, key=lambda one: _place(_value(one, by)), reverse=order == "desc")


def wanted(text: str) -> dict[str, Any]:
    """What a filter asks for, nothing when there is none. Raises InvalidInput for what is no JSON object."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise _wrong(f"It is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise _wrong("It is no JSON object")
    return found


def _fits(one: _Shown, wanted: Mapping[str, Any], depth: int) -> bool:
    if depth > _DEEPEST:
        raise _wrong("It is nested too deeply")
    return all(_holds(one, name, value, depth) for name, value in wanted.items())


def _holds(one: _Shown, name: str, value: Any, depth: int) -> bool:
    if name in ("+and", "+or"):
        if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
            raise _wrong(f"{name} has a list of conditions")
        some = [_fits(one, part, depth + 1) for part in value]
        return all(some) if name == "+and" else any(some)
    if name.startswith("+"):
        raise _wrong(f"There is no {name[:40]} here")
    found = _value(one, name)
    if not isinstance(value, dict):
        return _equal(found, value)
    return all(_compared(found, word, wanted) for word, wanted in value.items())


def _value(one: _Shown, name: str) -> Any:
    """That of a field, which may be one of a field's, as `entity.id`."""
    found: Any = one
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _equal(found: Any, wanted: Any) -> bool:
    """A list is equal to what it has."""
    if isinstance(found, list):
        return wanted in found or found == wanted
    if isinstance(found, str) and isinstance(wanted, str):
        return found.lower() == wanted.lower()
    if found is None or wanted is None or isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    return bool(found == wanted or str(found) == str(wanted))


def _contains(found: Any, wanted: Any) -> bool:
    if isinstance(found, list):
        return any(str(wanted).lower() in str(one).lower() for one in found)
    return found is not None and str(wanted).lower() in str(found).lower()


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def holds(found: Any, wanted: Any) -> bool:
        both_numbers = _is_number(found) and _is_number(wanted)
        return (both_numbers or (isinstance(found, str) and isinstance(wanted, str))) and compare(found, wanted)

    return holds


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_WORDS: Mapping[str, Callable[[Any, Any], bool]] = {
    "+gt": _ordered(lambda found, wanted: found > wanted),
    "+gte": _ordered(lambda found, wanted: found >= wanted),
    "+lt": _ordered(lambda found, wanted: found < wanted),
    "+lte": _ordered(lambda found, wanted: found <= wanted),
    "+contains": _contains,
    "+neq": lambda found, wanted: not _equal(found, wanted),
}


def _compared(found: Any, word: str, wanted: Any) -> bool:
    if word not in _WORDS:
        raise _wrong(f"There is no {word[:40]} here; there are {', '.join(_WORDS)}")
    return _WORDS[word](found, wanted)


def _place(value: Any) -> tuple[int, float, str]:
    """Where a value stands in an order: nothing, then numbers, then texts."""
    if value is None:
        return (0, 0.0, "")
    return (1, float(value), "") if _is_number(value) else (2, 0.0, str(value).lower())


def _wrong(why: str) -> InvalidInput:
    return InvalidInput(
        "The header X-Filter cannot be used", why=why, todo="Correct it, or leave it out", fields={"X-Filter": why}
    )
