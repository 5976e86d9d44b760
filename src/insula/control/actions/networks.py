"""Networks that instances are in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from insula.base.errors import InsulaError
from insula.control.actions.caller import Audit, Caller, Page, action
from insula.control.actions.faults import Faults
from insula.control.actions.ports import Spaces
from insula.control.store import Store
from insula.domain.access import Scope
from insula.domain.instance import Instance
from insula.domain.names import check_name
from insula.domain.project_network import ProjectNetwork


@dataclass(frozen=True)
class NetworkWish:
    """A new network. A prefix that is not given is chosen, `none` leaves it out; without `gateway` it leads nowhere."""

    name: str
    ipv4: str = ""
    ipv6: str = ""
    gateway: bool = True


class NetworkActions:
    def __init__(self, store: Store, spaces: Spaces) -> None:
        self.store = store
        self._spaces = spaces

    @action("networks.list", Scope.NETWORKS_READ, audit=Audit.NEVER)
    async def list(self, caller: Caller) -> Page[ProjectNetwork]:
        """The first one is where instances are that name none."""
        return Page(tuple(await self.store.networks.list(caller.project)))

    @action("networks.show", Scope.NETWORKS_READ, audit=Audit.NEVER)
    async def show(self, caller: Caller, network: str) -> ProjectNetwork:
        return await self.store.networks.get(caller.project, network)

    @action("networks.create", Scope.NETWORKS_WRITE, audit=Audit.AFTER)
    async def create(self, caller: Caller, wish: NetworkWish) -> ProjectNetwork:
        """Raises InvalidInput for prefixes that cannot be or overlap with others, Conflict for a taken name."""
        faults = Faults()
        with faults.of("name"):
            check_name(wish.name)
        if wish.ipv4 == wish.ipv6 == "none":
            faults.note("ipv6", "must be left out or be a prefix where there is no IPv4")
        faults.raise_if_any(f"Network {wish.name[:80]!r} cannot be made like this")

        def shape(found: ProjectNetwork) -> ProjectNetwork:
            ipv4, ipv6 = _chosen(wish.ipv4, found.ipv4), _chosen(wish.ipv6, found.ipv6)
            return replace(found, ipv4=ipv4, ipv6=ipv6, gateway=wish.gateway)

        made = await self.store.networks.add(caller.project, wish.name, shape)
        await self._spaces.tell_project(caller.project)
        return made

    @action("networks.change", Scope.NETWORKS_WRITE, audit=Audit.AFTER)
    async def change(self, caller: Caller, network: str, name: str | None, gateway: bool | None) -> ProjectNetwork:
        """Rename it, let it lead outside or no more; None leaves it. Connections that stand go on.

        Raises InvalidInput, NotFound, Conflict for a taken name.
        """
        if name is not None:
            check_name(name)
        changed = await self.store.networks.change(caller.project, network, name=name, gateway=gateway)
        await self._spaces.tell_project(caller.project)
        return changed

    @action("networks.join", Scope.NETWORKS_WRITE, audit=Audit.AFTER)
    async def join(self, caller: Caller, network: str, other: str) -> None:
        """Let two networks reach each other. Repeatable."""
        await self.store.networks.join(caller.project, (network, other), joined=True)
        await self._spaces.tell_project(caller.project)

    @action("networks.part", Scope.NETWORKS_WRITE, audit=Audit.AFTER)
    async def part(self, caller: Caller, network: str, other: str) -> None:
        """Let them reach each other no more; connections that stand go on. Repeatable."""
        await self.store.networks.join(caller.project, (network, other), joined=False)
        await self._spaces.tell_project(caller.project)

    @action("networks.attach", Scope.INSTANCES_WRITE, audit=Audit.AFTER)
    async def attach(self, caller: Caller, instance: str, network: str) -> Instance:
        """Give an instance a further network card, in another network; it has it when this returns. Repeatable.

        Raises NotFound, Conflict, Unsupported, CapacityExceeded, HostFailure; nothing is changed then.
        """
        before = await self.store.instances.get(caller.project, instance)
        changed = await self.store.cards.add(caller.project, before.id, network)
        try:
            await self._spaces.tell_project(caller.project)
            await self._spaces.match_cards(changed)
        except InsulaError:
            if changed.ports != before.ports:
                await self.store.cards.remove(caller.project, before.id, network)
                await self._spaces.tell_project(caller.project)
            raise
        return changed

    @action("networks.detach", Scope.INSTANCES_WRITE, audit=Audit.AFTER)
    async def detach(self, caller: Caller, instance: str, network: str) -> Instance:
        """Take a further network card away again. Raises NotFound, Conflict for the first one, HostFailure."""
        found = await self.store.instances.get(caller.project, instance)
        await self._spaces.match_cards(await self.store.cards.without(caller.project, found.id, network))
        changed = await self.store.cards.remove(caller.project, found.id, network)
        await self._spaces.tell_project(caller.project)
        return changed

    @action("networks.joined", Scope.NETWORKS_READ, audit=Audit.NEVER)
    async def joined(self, caller: Caller) -> Sequence[tuple[str, str]]:
        """Pairs of ids."""
        return await self.store.networks.joined(caller.project)

    @action("networks.delete", Scope.NETWORKS_WRITE, audit=Audit.AFTER)
    async def delete(self, caller: Caller, network: str) -> None:
        """Raises Conflict while an instance is in it, or a firewall's rule about it."""
        await self.store.networks.delete(caller.project, network)
        await self._spaces.tell_project(caller.project)


def _chosen(wish: str, found: str) -> str:
    return "" if wish == "none" else wish or found
