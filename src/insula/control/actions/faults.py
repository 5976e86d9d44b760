"""Collects everything that is wrong with a request, so that a caller can mend it in one go."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from insula.base.errors import InvalidInput


class Faults:
    """Wrong fields of one request."""

    def __init__(self) -> None:
        self._fields: dict[str, str] = {}
        self._caught: list[InvalidInput] = []

    def note(self, field: str, message: str) -> None:
        """`message` completes the sentence "The field …", e.g. "must be from 1 to 64"."""
        self._fields.setdefault(field, message)

    @contextlib.contextmanager
    def of(self, field: str) -> Iterator[None]:
        """Keep what an inner check says about `field` instead of raising it."""
        try:
            yield
        except InvalidInput as error:
            self._caught.append(error)
            for name, message in (error.fields or {field: error.why or error.what}).items():
                self.note(name, message)

    def between(self, field: str, value: int, lowest: int, highest: int) -> None:
        """Note a number out of bounds."""
        if not lowest <= value <= highest:
            self.note(field, f"must be from {lowest} to {highest}, not {value}")

    def raise_if_any(self, what: str) -> None:
        """Raise :class:`InvalidInput` that names every wrong field; a single caught error is raised as it was."""
        if len(self._fields) == 1 and len(self._caught) == 1:
            raise self._caught[0]
        if self._fields:
            listed = "; ".join(f"{field}: {message}" for field, message in self._fields.items())
            raise InvalidInput(what, why=listed, todo="Correct these fields and send it again", fields=self._fields)
