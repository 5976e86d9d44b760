"""Which operations of a dialect are supported, and the page that tells it."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from insula.frontends.dialects.dialect import Dialect

_ROWS = "| operation | request | |\n|---|---|---|\n"


@dataclass(frozen=True)
class Coverage:
    """`empty` operations list nothing, `refused` ones say that Insula has no such feature. `head` begins the page."""

    dialect: Dialect
    head: str
    empty: AbstractSet[str]
    refused: AbstractSet[str]

    @property
    def supported(self) -> frozenset[str]:
        """The names of all others: these do what they say."""
        names = (entry.name for entry in self.dialect.operations)
        return frozenset(name for name in names if name not in self.empty and name not in self.refused)

    @property
    def page(self) -> str:
        """The whole page."""
        entries = sorted(self.dialect.operations, key=lambda entry: (entry.path, entry.method))
        rows = [f"| {one.name} | `{one.method} {one.path}` | {self._standing(one.name)} |" for one in entries]
        return self.head + _ROWS + "\n".join(rows) + f"\n\n{len(self.supported)} operations are supported.\n"

    def _standing(self, name: str) -> str:
        if name in self.supported:
            return "supported"
        return "empty" if name in self.empty else "refused"
