"""Asks one operation after the other, and holds every answer against the vendor's specification."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from insula.domain.access import Scope
from insula.frontends.dialects.digitalocean import DIALECT
from tests.api.world import World
from tests.dialects.openapi import Specification

# Documented fields that answers here never have, each with its reason.
NEVER = {
    "gpu_info": "there are no GPUs",
    "filesystem_label": "file systems have none",
    "last_tagged_uri": "only when something carries the tag",
    "imgages": "a misspelling of the specification; images are told as `images`",
    "load_balancer_uids": "there are none",
    "kubernetes_ids": "there are none",
    "weekday": "daily backups have none",
    "pages": "only when there are several",
}


@dataclass
class Contract:
    """`seen` are the operations that answered as documented, `absent` their fields that were not there."""

    world: World
    specification: Specification
    seen: set[str] = field(default_factory=set)
    absent: dict[str, set[str]] = field(default_factory=dict)

    async def ask(self, name: str, *places: object, status: int = 200, **request: Any) -> Any:
        """Ask an operation by its name, with what its path names in order. Returns the answer's body."""
        entry = next(one for one in DIALECT.operations if one.name == name)
        path = entry.path
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
        entry = next(one for one in DIALECT.operations if one.name == name)
        plain = re.compile(r"\{\w+\}")
        assert (entry.method, plain.sub("{}", entry.path)) == (method, plain.sub("{}", path)), name
        assert self.specification.problems(name, status, body) == [], name
        missing = {one for one in self.specification.absent(name, status, body) if not set(one.split(".")) & set(NEVER)}
        self.absent[name] = missing if name not in self.seen else self.absent.get(name, set()) & missing
        self.seen.add(name)
