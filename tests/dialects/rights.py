"""What holds for every dialect: whoever may only look changes nothing, and nobody sees what is another project's."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from insula.domain.access import Scope
from insula.frontends.dialects.dialect import Dialect, Operation
from tests.api.probes import PUBLIC_KEY
from tests.api.world import OTHER_PROJECT, World

_READING = [scope for scope in Scope if scope.endswith(":read")]


@dataclass(frozen=True)
class Rights:
    """`things` finds what the `names` in paths stand for, `watched` are paths whose answers a change would show in.

    Operations of `nothing_to_do` succeed for whoever may only look, since there is nothing that the body asks for.
    """

    dialect: Dialect
    version: str
    body: Mapping[str, Any]
    names: frozenset[str]
    things: Callable[[World], Awaitable[Mapping[str, str]]]
    watched: Sequence[str]
    nothing_to_do: frozenset[str] = frozenset()
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def writing(self) -> list[Operation]:
        return [one for one in self.dialect.operations if one.method != "GET"]

    @property
    def naming(self) -> list[Operation]:
        """Those whose path names one of the things."""
        return [one for one in self.dialect.operations if self.names & set(re.findall(r"\{(\w+)\}", one.path))]

    async def check_reader(self, world: World, entry: Operation) -> None:
        path = self._filled(entry, await self._made(world))
        secret = await world.secret(*_READING)
        before = await self._everything(world)
        answer = await world.call(entry.method, path, secret, json=dict(self.body), params=self.params)
        allowed = {200, 201, 204} if entry.name in self.nothing_to_do else {400, 403, 404, 422}
        assert answer.status_code in allowed, answer.text
        assert await self._everything(world) == before

    async def check_stranger(self, world: World, entry: Operation) -> None:
        known = await self._made(world)
        secret = await world.secret(Scope.ADMIN, project=OTHER_PROJECT)
        before = await self._everything(world)
        answer = await world.call(entry.method, self._filled(entry, known), secret, json=dict(self.body))
        assert answer.status_code in {400, 404, 422}, answer.text
        assert await self._everything(world) == before

    async def _made(self, world: World) -> Mapping[str, str]:
        if not await world.store.instances.of_project("default"):
            await world.create("target", tags=["kept"])
            await world.create_volume("target")
            await world.create_snapshot("target")
            await world.add_firewall("wall")
            await world.admin("POST", "/v1/keys", json={"name": "k", "public_key": PUBLIC_KEY})
        known = await self.things(world)
        assert set(known) == self.names
        return known

    def _filled(self, entry: Operation, known: Mapping[str, str]) -> str:
        return self.version + re.sub(r"\{(\w+)\}", lambda place: known.get(place[1], "1"), entry.path)

    async def _everything(self, world: World) -> list[Any]:
        return [(await world.admin("GET", f"{self.version}{path}")).json() for path in self.watched]
