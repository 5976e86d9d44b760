"""Asks one operation after the other, and holds every answer against the vendor's specification."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

from insula.domain.access import Scope
from insula.frontends.dialects.dialect import Dialect
from tests.api.world import World


class Documented(Protocol):
    """A vendor's specification."""

    def knows(self, name: str) -> bool: ...

    def place(self, name: str) -> tuple[str, str]:
        """Method and path."""
        ...

    def problems(self, name: str, status: int, body: Any) -> list[str]:
        """What an answer has that it may not have."""
        ...

    def absent(self, name: str, status: int, body: Any) -> set[str]:
        """Documented fields that an answer does not have, as `droplet.image.slug`."""
        ...


@dataclass
class Contract:
    """`seen` are the operations that answered as documented, `absent` their fields that were not there.

    `never` are documented fields that answers here never have, each with its reason. `version` stands before paths.
    """

    world: World
    dialect: Dialect
    specification: Documented
    never: Mapping[str, str]
    version: str = ""
    seen: set[str] = field(default_factory=set)
    absent: dict[str, set[str]] = field(default_factory=dict)

    async def ask(self, name: str, *places: object, status: int = 200, **request: Any) -> Any:
        """Ask an operation by its name, with what its path names in order. Returns the answer's body."""
        entry = next(one for one in self.dialect.operations if one.name == name)
        path = self.version + entry.path
        for place in places:
            path = re.sub(r"\{\w+\}", quote(str(place), safe=""), path, count=1)
        secret = await self.world.secret(Scope.ADMIN)
        answer = await self.world.call(entry.method, path, secret, **request)
        assert answer.status_code == status, f"{name}: {answer.status_code} {answer.text}"
        body = answer.json() if answer.content else None
        if self.specification.knows(name) and status < 400:
            self._check(name, status, body)
        return body

    def _check(self, name: str, status: int, body: Any) -> None:
        method, path = self.specification.place(name)
        entry = next(one for one in self.dialect.operations if one.name == name)
        plain = re.compile(r"\{\w+\}")
        assert (entry.method, plain.sub("{}", entry.path)) == (method, plain.sub("{}", path)), name
        problems = self.specification.problems(name, status, body)
        assert not problems, f"{name}: {problems}"
        missing = {
            one for one in self.specification.absent(name, status, body) if not set(one.split(".")) & set(self.never)
        }
        self.absent[name] = missing if name not in self.seen else self.absent.get(name, set()) & missing
        self.seen.add(name)
