"""Accepting what shall happen to a volume: whether its own state, and that of the instances concerned, allow it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.engine import Connection

from insula.base.errors import Conflict
from insula.control.store.instances import find_instance, unknown_instance
from insula.control.store.operations import all_active
from insula.control.store.projects import find_project
from insula.control.store.volumes import attached_to, find_volume, insert_volume, write_volume
from insula.domain.capacity import Claim
from insula.domain.instance import Instance, InstanceState
from insula.domain.operation import Operation
from insula.domain.volume import CHANGEABLE, MAX_ATTACHED, Volume, VolumeState, check_transition

Place = Callable[[Sequence[Claim]], str]
"""Given all claims, the node that takes the new one; raises CapacityExceeded. Pure, since it may run again."""


@dataclass(frozen=True)
class VolumeChange:
    """The state that the operation's target goes into.

    `attach_to` is the id of the instance that gets it; `moves` allows that another one has it. The instances concerned
    must not be worked on by other operations than those of volumes, from now on to the operation's end.
    """

    becomes: VolumeState
    attach_to: str = ""
    moves: bool = False


def add_volume(connection: Connection, new: Volume, node: str) -> Volume:
    """Record a new volume, on its way to the instance that it names, if any."""
    find_project(connection, new.project)
    if new.instance_id is not None:
        host = _host(connection, new, new.instance_id)
        _check_room(connection, new.name, host)
        node = host.node
    placed = replace(new, node=node)
    insert_volume(connection, placed)
    return placed


def change_volume(connection: Connection, operation: Operation, wanted: VolumeChange, before: str) -> Operation:
    """Put the operation's target into its new state; returns the operation with what its undo needs to know.

    `before` is the name of the parameter that keeps the present state. Raises :class:`Conflict`.
    """
    found = find_volume(connection, operation.target)
    if wanted.becomes is VolumeState.DELETING:
        _check_deletable(connection, found)
    if wanted.attach_to:
        _check_attachable(connection, found, wanted)
    elif found.instance_id is not None:
        _host(connection, found, found.instance_id)
    check_transition(found.name, found.state, wanted.becomes)
    # From now on it counts for where it goes, and the operation works on where it is as well.
    goal = wanted.attach_to or found.instance_id
    write_volume(connection, found, {"state": wanted.becomes, "instance_id": goal, "problem": ""})
    params = {**operation.params, before: found.state, "instance_id": goal, "from_instance_id": found.instance_id}
    return replace(operation, params=params)


def check_no_volumes(connection: Connection, instance: Instance, done: str, todo: str) -> None:
    """Raise :class:`Conflict` when the instance has volumes."""
    names = [found.name for found in attached_to(connection, instance.id)]
    if names:
        raise Conflict(
            f"Instance {instance.name} has volumes and cannot be {done}",
            why=f"Attached: {', '.join(names)}",
            todo=todo,
            code="volume-attached",
        )


def _check_deletable(connection: Connection, found: Volume) -> None:
    if found.protected:
        raise Conflict(
            f"Volume {found.name} is protected and cannot be deleted",
            why="Somebody protected it against exactly this",
            todo=f"Lift the protection first: insula volume unprotect {found.name}",
            code="protected",
        )
    if found.instance_id is not None:
        host = find_instance(connection, found.instance_id)
        raise Conflict(
            f"Volume {found.name} is attached to {host.name} and cannot be deleted",
            why="Its guest may be writing to it",
            todo=f"Detach it first: insula volume detach {found.name}",
            code="volume-attached",
        )


def _check_attachable(connection: Connection, found: Volume, wanted: VolumeChange) -> None:
    host = _host(connection, found, wanted.attach_to)
    if found.instance_id == host.id and found.state is VolumeState.ATTACHED:
        raise Conflict(
            f"Volume {found.name} is attached to {host.name} already",
            why="There is nothing to do",
            todo=f"Find it in the guest; `insula volume show {found.name}` says where",
            code="volume-attached",
        )
    if found.instance_id not in (None, host.id):
        present = _host(connection, found, found.instance_id)
        if not wanted.moves:
            raise Conflict(
                f"Volume {found.name} is attached to {present.name}",
                why="A volume can be attached to one instance at a time",
                todo=f"Move it: insula volume attach {found.name} {host.name} --move",
                code="volume-attached",
            )
    if host.node != found.node:
        raise Conflict(
            f"Volume {found.name} and instance {host.name} are on different nodes",
            why=f"The volume is on {found.node}, the instance on {host.node}",
            todo="Attach it to an instance of its own node",
            code="volume-elsewhere",
        )
    _check_room(connection, found.name, host)


def _check_room(connection: Connection, name: str, host: Instance) -> None:
    if len(attached_to(connection, host.id)) >= MAX_ATTACHED:
        raise Conflict(
            f"Volume {name} cannot be attached to {host.name}",
            why=f"It has {MAX_ATTACHED} volumes, which is the most",
            todo="Detach one of them first",
            code="too-many-volumes",
        )


def _host(connection: Connection, found: Volume, instance_id: str) -> Instance:
    """The instance, if its volumes may come and go now. Other volumes' operations may work on it meanwhile."""
    host = find_instance(connection, instance_id)
    if host.project != found.project:
        raise unknown_instance(instance_id, f"in project {found.project}")
    active = next((each for each in all_active(connection, host.id) if each.verb.noun != "volume"), None)
    if active is not None:
        raise Conflict(
            f"Instance {host.name} is busy",
            why=f"Operation {active.id} ({active.verb.replace('_', ' ')}) works on it",
            todo=f"Wait for it with `insula operation wait {active.id}`",
            code="operation-in-progress",
        )
    if host.state not in CHANGEABLE:
        is_asleep = host.state is InstanceState.HIBERNATED
        raise Conflict(
            f"The volumes of instance {host.name} cannot change now",
            why=f"It is {host.state}" + (", and wakes with the devices that it had" if is_asleep else ""),
            todo=f"Wake it first: insula start {host.name}" if is_asleep else f"Look at it: insula show {host.name}",
            code="wrong-state",
        )
    return host
