"""A whole control with a node on the fake driver, as operations see the world."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from insula.base.clock import now_utc
from insula.control.nodes import Nodes, Spaces
from insula.control.operations import TRANSITIONS, VOLUME_STATES, Engine, EngineOptions, open_engine
from insula.control.operations.engine.runner import RetryPolicy
from insula.control.operations.engine.table import Tables
from insula.control.operations.tables import TABLES
from insula.control.scheduler import HostPolicy, Scheduler
from insula.control.store import Acceptance, Drilling, SnapshotUse, Store, VolumeChange
from insula.control.store.networks import add_default
from insula.domain.backup import Backup, BackupState, BackupStore, StoreKind, StorePlace, StoreState
from insula.domain.fork import children_of
from insula.domain.ids import Kind, new_id, new_mac
from insula.domain.instance import Identity, Instance, InstanceState, PortForward, Resources
from insula.domain.network import Space
from insula.domain.operation import Operation, OperationEvent, OperationState, Verb
from insula.domain.project_network import port_wish
from insula.domain.snapshot import Snapshot, SnapshotKind, SnapshotState
from insula.domain.volume import FileSystem, Volume, VolumeState
from insula.node.agent import Node, NodeParts
from insula.node.agent.pool_rules import PoolRules
from insula.node.agent.restart import RestartRules
from insula.node.agent.template_rules import Making, TemplateRules
from insula.node.hypervisor.fake.driver import FakeDriver
from insula.node.network.none import NoNetwork
from insula.node.storage.memory import MemoryDisks, MemoryImages
from insula.protocol.backups import StoreSecret, StoreSpec
from insula.protocol.network import SpaceOrder
from insula.protocol.node import InstanceSpec

RULES = RestartRules(first_delay_s=0.01, longest_delay_s=0.02, quick_death_s=60, quick_deaths_allowed=3)
POLICY = HostPolicy(reserve_memory_mib=1, overcommit_memory=100, overcommit_disk=1000, overcommit_vcpu=1000)
PATIENCE_S = 30.0
NO_POOL = PoolRules()
POOL = PoolRules(memory_mib=1024, pause_s=0.01, longest_pause_s=0.02)
# What is done to a running instance, so that the verb can be asked for.
BEFOREHAND = {Verb.START_INSTANCE: Verb.STOP_INSTANCE, Verb.RESUME_INSTANCE: Verb.PAUSE_INSTANCE}
# How a verb leaves its instance: the machine's power, and the record's state.
LEFT_AS = {
    Verb.STOP_INSTANCE: ("off", "stopped"),
    Verb.PAUSE_INSTANCE: ("paused", "paused"),
    Verb.HIBERNATE_INSTANCE: ("hibernated", "hibernated"),
}
CHILDREN = ("web1-1", "web1-2")  # what a fork makes, beside what it works on
Target = Instance | Volume | Snapshot | Backup | BackupStore
QUICK_UNDO = EngineOptions(undo=RetryPolicy(tries=2, first_wait_s=0.01))


@dataclass
class Control:
    """The parts, and the few calls that tests make."""

    store: Store
    node: Node
    scheduler: Scheduler
    engine: Engine

    async def accept(self, verb: Verb, target: Instance | str, **params: Any) -> Operation:
        """Accept and submit an operation on an instance (new for a create) or an image."""
        operation = make_operation(verb, target, params)
        instance = target if isinstance(target, Instance) and verb is Verb.CREATE_INSTANCE else None
        children = tuple[Instance, ...]()
        if isinstance(target, Instance) and verb is Verb.FORK_INSTANCE:
            children = children_of(target, params.get("names", CHILDREN), Identity(params.get("identity", "renew")))
        use = None
        if "snapshot_id" in params:
            use = SnapshotUse(params["snapshot_id"], bool(params.get("with_memory")))
        transition, backup_id = TRANSITIONS.get(verb), params.get("backup_id", "")
        wanted = Acceptance(
            operation, instance=instance, transition=transition, children=children, use=use, backup_id=backup_id
        )
        await self.store.accept(wanted)
        await self.engine.submit(operation.id)
        return operation

    async def accept_volume(
        self, verb: Verb, volume: Volume, *, to: str = "", moves: bool = False, **params: Any
    ) -> Operation:
        """Accept and submit an operation on a volume, which is new for a create; `to` is the id of an instance."""
        operation = make_operation(verb, volume, params)
        if verb is Verb.CREATE_VOLUME:
            wanted = Acceptance(operation, volume=volume, backup_id=params.get("backup_id", ""))
        else:
            wanted = Acceptance(operation, volume_change=VolumeChange(VOLUME_STATES[verb], to, moves))
        accepted = await self.store.accept(wanted)
        await self.engine.submit(accepted.id)
        return accepted

    async def do_volume(
        self, verb: Verb, volume: Volume, *, to: str = "", moves: bool = False, **params: Any
    ) -> Operation:
        """Accept, submit and wait."""
        return await self.wait(await self.accept_volume(verb, volume, to=to, moves=moves, **params))

    async def create_volume(self, name: str = "data", to: str = "") -> Volume:
        """A new volume, attached to an instance if one is named."""
        ended = await self.do_volume(Verb.CREATE_VOLUME, make_volume(name, instance_id=to or None))
        assert ended.state is OperationState.SUCCEEDED, ended.error
        return await self.store.volumes.get("default", name)

    async def accept_snapshot(self, verb: Verb, snapshot: Snapshot) -> Operation:
        """Accept and submit an operation on a snapshot, which is new for a create."""
        operation = make_operation(verb, snapshot, {})
        accepted = await self.store.accept(
            Acceptance(operation, snapshot=snapshot if verb is Verb.CREATE_SNAPSHOT else None)
        )
        await self.engine.submit(accepted.id)
        return accepted

    async def do_snapshot(self, verb: Verb, snapshot: Snapshot) -> Operation:
        """Accept, submit and wait."""
        return await self.wait(await self.accept_snapshot(verb, snapshot))

    async def create_snapshot(
        self, host: Instance, name: str = "first", kind: SnapshotKind = SnapshotKind.DISK
    ) -> Snapshot:
        """A new snapshot of an instance."""
        ended = await self.do_snapshot(Verb.CREATE_SNAPSHOT, make_snapshot(host, name, kind=kind))
        assert ended.state is OperationState.SUCCEEDED, ended.error
        return await self.store.snapshots.get("default", name)

    async def open_store(self, place: Path, name: str = "elsewhere") -> BackupStore:
        """A backup store in a folder, which is made."""
        await asyncio.to_thread(place.mkdir, exist_ok=True)
        now = now_utc()
        where = StorePlace(StoreKind.FOLDER, str(place))
        made = BackupStore(
            *(new_id(Kind.STORE), "default", name, StoreState.AVAILABLE, where, "local", now, now),
        )
        await self.node.open_store(StoreSpec(made.id, where), StoreSecret())
        await self.store.backup_stores.add(made)
        return made

    async def accept_backup(self, verb: Verb, target: Backup | BackupStore, **params: Any) -> Operation:
        """Accept and submit an operation on a backup, which is new for a create, or on a backup store."""
        operation = make_operation(verb, target, params)
        wanted = Acceptance(operation)
        if verb is Verb.CREATE_BACKUP and isinstance(target, Backup):
            wanted = Acceptance(operation, backup=target)
        if verb is Verb.DRILL_BACKUP:
            operation = replace(operation, params={"mac": "52:54:00:00:00:02", **params})
            wanted = Acceptance(operation, drilling=Drilling(new_id(Kind.INSTANCE)))
        accepted = await self.store.accept(wanted)
        await self.engine.submit(accepted.id)
        return accepted

    async def do_backup(self, verb: Verb, target: Backup | BackupStore, **params: Any) -> Operation:
        """Accept, submit and wait."""
        return await self.wait(await self.accept_backup(verb, target, **params))

    async def create_backup(self, host: Instance, place: BackupStore, name: str = "first") -> Backup:
        """A new backup of an instance."""
        ended = await self.do_backup(Verb.CREATE_BACKUP, make_backup(host, place, name))
        assert ended.state is OperationState.SUCCEEDED, ended.error
        return await self.store.backups.get("default", name)

    async def wait(self, operation: Operation) -> Operation:
        """The operation when it is final."""
        async with asyncio.timeout(PATIENCE_S):
            async for _ in self.engine.subscribe(operation.id):
                pass
        return await self.store.operations.get(operation.project, operation.id)

    async def do(self, verb: Verb, target: Instance | str, **params: Any) -> Operation:
        """Accept, submit and wait."""
        return await self.wait(await self.accept(verb, target, **params))

    async def create(self, name: str = "web1", **params: Any) -> Instance:
        """A new instance, running."""
        instance = make_instance(name)
        ended = await self.do(Verb.CREATE_INSTANCE, instance, **params)
        assert ended.state is OperationState.SUCCEEDED, ended.error
        return await self.store.instances.get("default", name)

    async def events(self, operation: Operation) -> list[OperationEvent]:
        return list(await self.store.operations.events(operation.id))


def make_instance(name: str = "web1", **fields: Any) -> Instance:
    now = now_utc()
    made = Instance(
        id=new_id(Kind.INSTANCE),
        project="default",
        name=name,
        state=InstanceState.CREATING,
        image="tiny",
        plan="micro-1",
        resources=Resources(1, 128, 2, 25),
        hostname=name,
        mac=new_mac(),
        node="local",
        created_at=now,
        updated_at=now,
        forwards=(PortForward(guest_port=22),),
    )
    made = replace(made, **fields)
    return made if "ports" in fields else replace(made, ports=(port_wish(made.id, made.mac),))


def make_volume(name: str = "data", **fields: Any) -> Volume:
    now = now_utc()
    made = Volume(
        id=new_id(Kind.VOLUME),
        project="default",
        name=name,
        size_gib=3,
        file_system=FileSystem.EXT4,
        state=VolumeState.CREATING,
        node="local",
        instance_id=None,
        created_at=now,
        updated_at=now,
    )
    return replace(made, **fields)


def make_snapshot(host: Instance, name: str = "first", **fields: Any) -> Snapshot:
    now = now_utc()
    made = Snapshot(
        id=new_id(Kind.SNAPSHOT),
        project="default",
        name=name,
        instance_id=host.id,
        parent_id=None,
        kind=SnapshotKind.DISK,
        state=SnapshotState.CREATING,
        node="local",
        created_at=now,
        updated_at=now,
        image=host.image,
        plan=host.plan,
        resources=host.resources,
        firmware=host.firmware,
        machine_type=host.machine_type,
    )
    return replace(made, **fields)


def make_backup(host: Instance, place: BackupStore, name: str = "first", **fields: Any) -> Backup:
    now = now_utc()
    made = Backup(
        id=new_id(Kind.BACKUP),
        project="default",
        name=name,
        store_id=place.id,
        instance_id=host.id,
        instance_name=host.name,
        state=BackupState.CREATING,
        node="local",
        created_at=now,
        updated_at=now,
        image=host.image,
        plan=host.plan,
        resources=host.resources,
        firmware=host.firmware,
        machine_type=host.machine_type,
    )
    return replace(made, **fields)


def make_operation(verb: Verb, target: Target | str, params: dict[str, Any]) -> Operation:
    now = now_utc()
    return Operation(
        id=new_id(Kind.OPERATION),
        project="default",
        verb=verb,
        target=target if isinstance(target, str) else target.id,
        target_name=target if isinstance(target, str) else target.name,
        state=OperationState.QUEUED,
        params=params,
        requested_by="local:test",
        created_at=now,
        updated_at=now,
    )


def make_node(folder: Path, pool: PoolRules = NO_POOL) -> Node:
    parts = NodeParts(
        name="local",
        folder=folder,
        driver=FakeDriver(),
        images=MemoryImages(folder / "images"),
        disks=MemoryDisks(),
        network=NoNetwork(),
        rules=RULES,
        templates=TemplateRules(Making.ASKED, settle_s=0.0, calm_load=1e9),
        pool=pool,
    )
    return Node(parts)


async def open_network(control: Control, spec: InstanceSpec) -> None:
    """The network of its project, as an instance before it brings it along."""
    first = await control.store._database.write(lambda connection: add_default(connection, spec.project))
    await control.node.apply_space(SpaceOrder(Space(spec.nics[0].space_id, (first.network,)), 0))


async def fill_pool(node: Node, spec: InstanceSpec) -> None:
    """Until members wait for instances like this one, whose network is there."""
    await node.make_template(spec)
    assert await node.draw(spec) is None
    async with asyncio.timeout(PATIENCE_S):
        while len(node._pool._waiting) < 2:
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def open_control(
    url: str, node: Node, *, tables: Tables = TABLES, options: EngineOptions = QUICK_UNDO
) -> AsyncIterator[Control]:
    """Control over `node`; `tables` may be ones that fail on purpose."""
    store = await Store.open(url)
    nodes = Nodes({"local": node})
    spaces = Spaces(store, nodes)
    scheduler = Scheduler(store, nodes, POLICY)
    engine = await open_engine(url, store, nodes, spaces, scheduler, options=options, tables=tables)
    try:
        yield Control(store, node, scheduler, engine)
    finally:
        await engine.close()
        await spaces.close()
        await store.close()


def check_left(found: dict[str, Any], verb: Verb, instance: Instance) -> None:
    """Compare a world with what the verb leaves of its only instance, and of the children of a fork."""
    power, state = LEFT_AS.get(verb, ("on", "running"))
    count = 1 + (len(CHILDREN) if verb is Verb.FORK_INSTANCE else 0)
    assert found["machines"][instance.id] == power
    assert list(found["machines"].values()) == [power] * count
    assert [record["state"] for record in found["instances"]] == [state] * count
    assert sum("disk" in name for name in found["files"]) == count
