"""Reserved addresses: addresses of the outside that lead to whichever instance their project says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from insula.base.clock import now_utc
from insula.base.errors import InsulaError, NotFound
from insula.control.actions.caller import Audit, Caller, Page, action, note
from insula.control.actions.faults import Faults
from insula.control.actions.ports import Nodes, Spaces
from insula.control.store import Store
from insula.domain.access import Scope
from insula.domain.address import AddressPool, Assignment, ReservedAddress, parse_address, read_range
from insula.domain.ids import Kind, new_id
from insula.domain.names import check_name
from insula.domain.operation import Verb


@dataclass(frozen=True)
class PoolWish:
    """A new pool. `addresses` are a prefix, a range or a single one; `node` is where they lead, if empty the first."""

    name: str
    addresses: str
    node: str = ""


@dataclass(frozen=True)
class AddressWish:
    """An address to reserve: that one, or a free one of the pool, or of any pool of the version (4 or 6).

    `instance` is where it shall lead at once, if anywhere.
    """

    address: str = ""
    pool: str = ""
    version: int = 4
    instance: str = ""


class AddressActions:
    """An address leads where it shall when the action returns."""

    def __init__(self, store: Store, spaces: Spaces, nodes: Nodes) -> None:
        self.store = store
        self._spaces = spaces
        self._nodes = nodes

    @action("addresses.pools", Scope.HOST_READ, audit=Audit.NEVER)
    async def pools(self, caller: Caller) -> Sequence[AddressPool]:
        return await self.store.addresses.pools()

    @action("addresses.add_pool", Scope.HOST_WRITE, audit=Audit.AFTER)
    async def add_pool(self, caller: Caller, wish: PoolWish) -> AddressPool:
        """Raises InvalidInput, NotFound for an unknown node, Conflict for a taken name or addresses."""
        faults = Faults()
        with faults.of("name"):
            check_name(wish.name)
        with faults.of("addresses"):
            first, last = read_range(wish.addresses)
        faults.raise_if_any(f"Pool {wish.name[:80]!r} cannot be made like this")
        names = self._nodes.names()
        if wish.node and wish.node not in names:
            raise NotFound(
                f"There is no node {wish.node[:80]}",
                why=f"There are {', '.join(names)}",
                todo="Name one of these",
                code="unknown-node",
            )
        made = AddressPool(new_id(Kind.ADDRESS_POOL), wish.name, wish.node or names[0], first, last, now_utc())
        return await self.store.addresses.add_pool(made)

    @action("addresses.delete_pool", Scope.HOST_WRITE, audit=Audit.AFTER)
    async def delete_pool(self, caller: Caller, pool: str) -> None:
        """Raises NotFound, and Conflict while an address of it is reserved."""
        await self.store.addresses.delete_pool(pool)

    @action("addresses.list", Scope.NETWORKS_READ, audit=Audit.NEVER)
    async def list(self, caller: Caller) -> Page[ReservedAddress]:
        return Page(tuple(await self.store.addresses.list(caller.project)))

    @action("addresses.left", Scope.NETWORKS_READ, audit=Audit.NEVER)
    async def left(self, caller: Caller, version: int) -> bool:
        """Whether one of this version could be reserved now."""
        return await self.store.addresses.has_free(version)

    @action("addresses.show", Scope.NETWORKS_READ, audit=Audit.NEVER)
    async def show(self, caller: Caller, address: str) -> ReservedAddress:
        return await self.store.addresses.get(caller.project, address)

    @action("addresses.reserve", Scope.NETWORKS_WRITE, audit=Audit.AFTER)
    async def reserve(self, caller: Caller, wish: AddressWish) -> ReservedAddress:
        """Raises NotFound, Conflict, CapacityExceeded; nothing is reserved when it cannot lead to the instance."""
        faults = Faults()
        wanted = parse_address(wish.address) if wish.address else None
        if wish.address and wanted is None:
            faults.note("address", "must be an address")
        faults.raise_if_any("Such an address cannot be reserved")
        instance = await self.store.instances.get(caller.project, wish.instance) if wish.instance else None
        made = await self.store.addresses.reserve(
            caller.project, wanted=str(wanted or ""), pool=wish.pool, version=wish.version
        )
        if instance is None:
            return made
        try:
            return await self._lead(made, instance.id)
        except InsulaError:
            await self.store.addresses.release(caller.project, made.id)
            raise

    @action("addresses.assign", Scope.NETWORKS_WRITE, audit=Audit.AFTER)
    async def assign(self, caller: Caller, address: str, instance: str) -> ReservedAddress:
        """Let it lead to an instance, whichever it led to before; connections that stand go on. Repeatable.

        Raises NotFound, Conflict, and Unsupported where the host cannot have such addresses.
        """
        found = await self.store.addresses.get(caller.project, address)
        holder = await self.store.instances.get(caller.project, instance)
        changed = await self._lead(found, holder.id)
        await note(self.store, caller, Verb.ASSIGN_ADDRESS, (found.id, found.address), {"instance_id": holder.id})
        return changed

    @action("addresses.unassign", Scope.NETWORKS_WRITE, audit=Audit.AFTER)
    async def unassign(self, caller: Caller, address: str) -> ReservedAddress:
        """Let it lead nowhere; it stays reserved. Repeatable."""
        found = await self.store.addresses.get(caller.project, address)
        changed = await self._lead(found, None)
        await note(self.store, caller, Verb.UNASSIGN_ADDRESS, (found.id, found.address), {"before": found.instance_id})
        return changed

    @action("addresses.release", Scope.NETWORKS_WRITE, audit=Audit.AFTER)
    async def release(self, caller: Caller, address: str) -> None:
        """Give it back to its pool. Raises NotFound, and Conflict while it leads to an instance."""
        await self.store.addresses.release(caller.project, address)

    @action("addresses.history", Scope.NETWORKS_READ, audit=Audit.NEVER)
    async def history(self, caller: Caller, address: str) -> Sequence[Assignment]:
        """Where it led while the project had it, the last one first; told for a released one as well."""
        parsed = parse_address(address)
        text = str(parsed) if parsed is not None else (await self.store.addresses.get(caller.project, address)).address
        found = await self.store.addresses.history(caller.project, text)
        if not found:
            await self.store.addresses.get(caller.project, text)  # which one that was never reserved is not
        return found

    async def _lead(self, found: ReservedAddress, instance_id: str | None) -> ReservedAddress:
        """What the node refuses changes nothing."""
        holder = await self.store.instances.find(instance_id) if instance_id is not None else None
        changed = await self.store.addresses.assign(found.project, found.id, holder)
        try:
            await self._spaces.tell_project(found.project)
        except InsulaError:
            before = await self.store.instances.find(found.instance_id) if found.instance_id is not None else None
            await self.store.addresses.assign(found.project, found.id, before)
            raise
        return changed
