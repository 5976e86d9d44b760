"""Ports of the host that lead to instances, opened and closed while these run."""

from __future__ import annotations

from insula.base.errors import InsulaError, NotFound
from insula.control.actions.caller import Audit, Caller, action
from insula.control.actions.faults import Faults
from insula.control.actions.ports import Spaces
from insula.control.actions.wishes import check_forwards
from insula.control.store import Store
from insula.domain.access import Scope
from insula.domain.instance import Instance, PortForward, Protocol


class ForwardActions:
    """A port is open, or closed, when the action returns."""

    def __init__(self, store: Store, spaces: Spaces) -> None:
        self.store = store
        self._spaces = spaces

    @action("forwards.add", Scope.INSTANCES_WRITE, audit=Audit.AFTER)
    async def add(self, caller: Caller, instance: str, forward: PortForward) -> Instance:
        """Raises InvalidInput, NotFound, and Conflict when the port is another instance's or another program's."""
        found = await self.store.instances.get(caller.project, instance)
        faults = Faults()
        check_forwards((forward,), faults)
        faults.raise_if_any(f"No such port can lead to {found.name}")
        changed = await self.store.instances.add_forward(caller.project, found.id, forward)
        try:
            await self._spaces.tell_project(caller.project)
        except InsulaError:
            await self.store.instances.remove_forward(caller.project, found.id, changed.forwards[-1])
            raise
        return changed

    @action("forwards.remove", Scope.INSTANCES_WRITE, audit=Audit.AFTER)
    async def remove(self, caller: Caller, instance: str, host_port: int, protocol: Protocol) -> Instance:
        """Connections that came through it go on. Raises NotFound."""
        found = await self.store.instances.get(caller.project, instance)
        wanted = next((f for f in found.forwards if (f.host_port, f.protocol) == (host_port, protocol)), None)
        if wanted is None:
            raise NotFound(
                f"Port {host_port}/{protocol} of the host does not lead to {found.name}",
                why=f"These do: {', '.join(f'{f.host_port}/{f.protocol}' for f in found.forwards) or 'none'}",
                todo=f"Look at `insula show {found.name}`",
                code="unknown-forward",
            )
        changed = await self.store.instances.remove_forward(caller.project, found.id, wanted)
        await self._spaces.tell_project(caller.project)
        return changed
