"""What the actions need of the rooms below besides the store, as narrow Protocols; `main` puts the real ones in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from insula.control.store import Place
from insula.domain.capacity import Capacity
from insula.domain.instance import Instance, Resources
from insula.domain.network import Space
from insula.domain.operation import Operation, OperationEvent
from insula.protocol.network import Traffic, Way
from insula.protocol.node import NodeApi


class Engine(Protocol):
    """Carries accepted operations out."""

    async def submit(self, operation_id: str) -> None: ...
    async def cancel(self, project: str, operation_id: str) -> Operation: ...
    async def retry(self, project: str, operation_id: str, requested_by: str) -> Operation: ...

    def version(self) -> int:
        """Grows with every event of any operation that runs here."""
        ...

    def subscribe(self, operation_id: str, after: int) -> AsyncIterator[OperationEvent]:
        """Events after that sequence number: those that were, then live ones; ends when the operation is over."""
        ...


class Scheduler(Protocol):
    """Knows what fits where."""

    async def placer(self, wanted: Resources, node: str = "") -> Place:
        """What decides, inside the accepting transaction, whether and where `wanted` fits; `node` leaves one choice."""
        ...

    async def capacity(self) -> Sequence[Capacity]: ...


class Spaces(Protocol):
    """What projects are connected by, on their nodes."""

    async def tell_project(self, project: str) -> None:
        """Have what is recorded in force. Raises what nodes raise; then it is tried again later."""
        ...

    async def space_of(self, project: str, node: str) -> Space: ...

    def way_of(self, project: str, node: str) -> Way:
        """How the project's networks there reach the outside."""
        ...

    async def match_cards(self, instance: Instance) -> None:
        """Have its machine get and lose network cards, so that it has those of its ports. Raises what nodes raise."""
        ...

    async def account(self, instances: Sequence[Instance]) -> None:
        """Note what they have sent and received up to now."""
        ...

    async def rule_traffic(self, project: str) -> Mapping[str, Traffic]:
        """What matched each rule, by its id."""
        ...


class Nodes(Protocol):
    """The hosts."""

    def names(self) -> Sequence[str]: ...
    def get(self, name: str) -> NodeApi: ...
