"""Which of a vendor's operations are supported, and the page that tells it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from insula.frontends.dialects.dialect import Dialect, Operation

SUPPORTED, EMPTY, REFUSED = "supported", "empty", "refused"


def _by_path(entry: Operation) -> str:
    return f"{entry.method} {entry.path}"


@dataclass(frozen=True)
class Coverage:
    """All operations of a dialect: those that list nothing, those that are refused, and the rest, which do their work.

    `head` stands before the table, and `request` tells what asks for an operation.
    """

    dialect: Dialect
    head: str
    empty: frozenset[str]
    refused: frozenset[str]
    request: Callable[[Operation], str] = _by_path

    @property
    def supported(self) -> frozenset[str]:
        return frozenset(entry.name for entry in self.dialect.operations if self._standing(entry) == SUPPORTED)

    def page(self) -> str:
        """The whole page."""
        entries = sorted(self.dialect.operations, key=lambda entry: (entry.path, entry.method))
        rows = [f"| {entry.name} | `{self.request(entry)}` | {self._standing(entry)} |" for entry in entries]
        table = ["| operation | request | |", "|---|---|---|", *rows]
        return self.head + "\n".join(table) + f"\n\n{len(self.supported)} operations are supported.\n"

    def write(self, folder: Path) -> None:
        """Write the page, and say so."""
        (folder / "COVERAGE.md").write_text(self.page())
        sys.stdout.write(f"{len(self.supported)} operations are supported\n")

    def _standing(self, entry: Operation) -> str:
        if entry.name in self.empty:
            return EMPTY
        return REFUSED if entry.name in self.refused else SUPPORTED
