"""What browsers send: fields of forms, and forms that are sent twice."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import parse_qsl

from insula.base.errors import InvalidInput

MAX_FORM_BYTES = 1024 * 1024
_MAX_FIELDS = 2000
_REMEMBERED = 1000
_T = TypeVar("_T")


@dataclass(frozen=True)
class Form:
    """Fields with all their values, as they were sent."""

    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def text(self, name: str, default: str = "") -> str:
        """The value without spaces around it; `default` when the field was not sent or is empty."""
        return self.raw(name).strip() or default

    def raw(self, name: str) -> str:
        """The value as it is, with the line ends of Unix."""
        return self.values.get(name, ("",))[0].replace("\r\n", "\n")

    def all(self, name: str) -> tuple[str, ...]:
        return self.values.get(name, ())

    def words(self, name: str) -> tuple[str, ...]:
        """What is between commas and spaces."""
        return tuple(self.text(name).replace(",", " ").split())

    def flag(self, name: str) -> bool:
        return self.text(name) not in ("", "no")

    def number(self, name: str, default: int | None = None) -> int:
        """Raises InvalidInput for what is no number, or for nothing where there is no default."""
        text = self.text(name)
        if not text and default is not None:
            return default
        digits = text.removeprefix("-")
        if not digits.isascii() or not digits.isdigit() or len(digits) > 12:
            raise InvalidInput(
                f"{text[:40]!r} is no whole number" if text else "A number is missing",
                why=f"The field {name} takes a whole number",
                todo="Correct it and send it again",
                fields={name: "must be a whole number"},
            )
        return int(text)

    def chosen(self, name: str, kind: Callable[[str], _T], default: str = "") -> _T:
        """The value as one of an enumeration. Raises InvalidInput."""
        text = self.text(name, default)
        try:
            return kind(text)
        except ValueError as error:
            raise InvalidInput(
                f"{text[:40]!r} is no choice for {name}",
                why=str(error),
                todo="Choose one of those that the page offers",
                fields={name: "is none of the choices"},
            ) from error

    def check_typed(self, name: str, listed_as: str = "") -> None:
        """Raise InvalidInput unless the name was typed, as what cannot be undone asks for.

        A list asks for the verb instead, which is `listed_as`, and once for all that were chosen there.
        """
        if self.text("typed") == name or (listed_as and self.text("confirm") == listed_as):
            return
        raise InvalidInput(
            "The name was not typed",
            why="This cannot be undone, so it asks for the name first",
            todo=f"Type {name} and send it again",
            code="not-confirmed",
            fields={"typed": f"must be {name}"},
        )


def parse_form(content: bytes) -> Form:
    """Fields of `application/x-www-form-urlencoded`. Raises InvalidInput."""
    try:
        pairs = parse_qsl(content.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise _unreadable(str(error)) from error
    values: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        if "\x00" in value or "\x00" in name:
            raise _unreadable("It has a zero byte in a field")
        values[name] = (*values.get(name, ()), value)
    return Form(values)


def _unreadable(why: str) -> InvalidInput:
    return InvalidInput(
        "The form cannot be read", why=why, todo="Open the page again and fill it in anew", code="malformed-request"
    )


class Once(Generic[_T]):
    """Answers a form that is sent twice, as by a double click, with what the first time came to.

    Bounded and kept in memory: names that are unique in a project are what holds after a restart. What `is_done` denies
    was refused, and may be tried again with the same key.
    """

    def __init__(self, is_done: Callable[[_T], bool]) -> None:
        self._is_done = is_done
        self._answers: OrderedDict[str, asyncio.Future[_T]] = OrderedDict()

    async def run(self, key: str, work: Callable[[], Awaitable[_T]]) -> _T:
        """What `work` gives, or gave."""
        found = self._answers.get(key)
        if found is not None:
            return await asyncio.shield(found)
        answer: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        self._answers[key] = answer
        try:
            result = await work()
        except BaseException as error:
            self._answers.pop(key, None)
            if isinstance(error, Exception):
                answer.set_exception(error)
                answer.exception()  # nobody else may be waiting for it
            else:
                answer.cancel()
            raise
        answer.set_result(result)
        if not self._is_done(result):
            self._answers.pop(key, None)
        while len(self._answers) > _REMEMBERED:
            self._answers.popitem(last=False)
        return result
