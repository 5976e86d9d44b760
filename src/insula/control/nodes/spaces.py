"""Tells nodes the networks of projects as they are recorded: always whole, and only when something has changed."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

from insula.base.clock import monotonic_s
from insula.base.errors import InsulaError, NotFound
from insula.base.log import get_logger
from insula.control.nodes.accounting import account
from insula.control.nodes.nodes import Nodes
from insula.control.nodes.spec import node_spec
from insula.control.store import Store
from insula.domain.address import ReservedAddress
from insula.domain.instance import Instance
from insula.domain.network import Forward, Member, PublicAddress, Space
from insula.domain.project_network import space_id_of
from insula.protocol.network import SpaceOrder, Traffic, Way

_log = get_logger(__name__)

_EMPTY_FOR_S = 60.0  # what comes and goes, such as sandboxes, finds the network of the one before


class Spaces:
    """One per controller. Those that are told last are those that stand."""

    def __init__(self, store: Store, nodes: Nodes) -> None:
        self._store = store
        self._nodes = nodes
        self._told: dict[tuple[str, str], Space] = {}
        self._ways: dict[tuple[str, str], Way] = {}
        self._empty_since_s: dict[tuple[str, str], float] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._cut: set[str] = set()

    async def connect(self, instance: Instance) -> None:
        """Have all of an instance's ports there. Repeatable. Raises what the node raises: Conflict, HostFailure."""
        self._cut.discard(instance.id)
        await self._tell(instance.project, instance.node)

    async def disconnect(self, instance: Instance) -> None:
        """Have its ports gone, though its record is there still. Repeatable."""
        await self.account([instance])
        self._cut.add(instance.id)
        await self._tell(instance.project, instance.node)

    async def match_cards(self, instance: Instance) -> None:
        """Have its machine, if it runs, get and lose network cards, so that it has those of its ports. Repeatable.

        Raises what the node raises: Conflict, Unsupported, HostFailure.
        """
        await self._nodes.get(instance.node).match_cards(node_spec(instance))

    async def tell_project(self, project: str) -> None:
        """Have all nodes know what is recorded of a project. Raises what a node raises; the next one is told then."""
        for node in {instance.node for instance in await self._store.instances.of_project(project)}:
            await self._tell(project, node)

    async def rule_traffic(self, project: str) -> Mapping[str, Traffic]:
        """What matched each rule of its firewalls, by the rule's id, on all nodes together."""
        counts: dict[str, Traffic] = {}
        for node in {instance.node for instance in await self._store.instances.of_project(project)}:
            with contextlib.suppress(NotFound):  # nobody is connected there
                found = await self._nodes.get(node).space_traffic(space_id_of(project))
                for rule, new in found.rules.items():
                    old = counts.get(rule, Traffic())
                    counts[rule] = Traffic(old.packets + new.packets, old.byte_count + new.byte_count)
        return counts

    def way_of(self, project: str, node: str) -> Way:
        """How the project's networks there reach the outside, as the node told."""
        return self._ways.get((node, space_id_of(project)), Way.USER)

    async def account(self, instances: Sequence[Instance]) -> None:
        """Note what they have sent and received up to now."""
        await account(self._store, self._nodes, instances)

    async def tell_all(self) -> None:
        """Have all nodes know what is recorded, and nothing else. What a node refuses is logged."""
        everybody = await self._store.instances.all()
        self._cut &= {instance.id for instance in everybody}
        for node in self._nodes.names():
            projects = {instance.project for instance in everybody if self._belongs(instance, node)}
            ids = {space_id_of(project) for project in projects}
            try:
                for report in await self._nodes.get(node).space_reports():
                    if report.id not in ids:
                        await self._remove_empty(node, report.id, _EMPTY_FOR_S)
                for project in sorted(projects):
                    await self._tell(project, node)
            except InsulaError as error:
                _log.warning("a node could not be told its networks", node=node, error=str(error))

    async def close(self) -> None:
        """Leave nothing behind where no instance is."""
        for node, space_id in list(self._empty_since_s):
            try:
                await self._remove_empty(node, space_id, 0)
            except InsulaError as error:
                _log.warning("a network could not be removed", node=node, space_id=space_id, error=str(error))

    async def _remove_empty(self, node: str, space_id: str, after_s: float) -> None:
        """Remove a space that nobody has been in for so long; one that we never told, at once."""
        key = (node, space_id)
        async with self._locks[space_id]:
            # Looked at once more: somebody may have come since the caller looked.
            for instance in await self._store.instances.all():
                if self._belongs(instance, node) and space_id_of(instance.project) == space_id:
                    self._empty_since_s.pop(key, None)
                    return
            since_s = self._empty_since_s.setdefault(key, monotonic_s())
            if key in self._told and monotonic_s() - since_s < after_s:
                return
            await self._nodes.get(node).remove_space(space_id)
            self._empty_since_s.pop(key, None)
            self._told.pop(key, None)

    async def _tell(self, project: str, node: str) -> None:
        async with self._locks[space_id_of(project)]:
            space = await self.space_of(project, node)
            key = (node, space.id)
            if space.ports:
                self._empty_since_s.pop(key, None)
            elif key in self._told:
                self._empty_since_s.setdefault(key, monotonic_s())
            if space == self._told.get(key) or not (space.ports or key in self._told):
                return
            revision = await self._store.networks.next_revision(project)
            report = await self._nodes.get(node).apply_space(SpaceOrder(space, revision))
            self._told[key], self._ways[key] = space, report.way

    async def space_of(self, project: str, node: str) -> Space:
        """What a node is to know of a project."""
        # The networks last: a port that is read is in one that is read.
        there = [one for one in await self._store.instances.of_project(project) if self._belongs(one, node)]
        networks = await self._store.networks.list(project)
        addresses = await self._store.addresses.list(project)
        return Space(
            space_id_of(project),
            tuple(network.network for network in networks),
            tuple(Member(one.id, _name_there(one), one.tags) for one in there),
            tuple(port for one in there for port in one.limited_ports),
            tuple(record.firewall for record in await self._store.firewalls.list(project)),
            tuple(await self._store.networks.joined(project)),
            _forwards(there),
            _addresses(there, addresses),
        )

    def _belongs(self, instance: Instance, node: str) -> bool:
        return instance.node == node and bool(instance.ports) and instance.id not in self._cut


def _addresses(instances: Sequence[Instance], addresses: Sequence[ReservedAddress]) -> tuple[PublicAddress, ...]:
    """Each at the first port of its instance that has an address of its kind."""
    there = {instance.id: instance for instance in instances}
    found = []
    for one in addresses:
        ports = there[one.instance_id].ports if one.instance_id in there else ()
        port = next((port for port in ports if (port.ipv6 if ":" in one.address else port.ipv4)), None)
        if port is not None:
            found.append(PublicAddress(one.address, port.id))
    return tuple(found)


def _name_there(instance: Instance) -> str:
    """What others find it by: a name without a domain, which its host name may have."""
    return instance.name if "." in instance.hostname else instance.hostname


def _forwards(instances: Sequence[Instance]) -> tuple[Forward, ...]:
    return tuple(Forward(one.ports[0].id, forward) for one in instances for forward in one.forwards)
