"""What may be done to a droplet: each action, and what it is with us."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from insula.base.errors import InvalidInput, NotFound, Unsupported
from insula.control.actions.sizes import SizeWish
from insula.control.actions.snapshots import SnapshotWish
from insula.control.actions.wishes import ChangeWish, ResizeWish
from insula.domain.ids import Kind, is_id
from insula.domain.instance import Instance
from insula.domain.names import check_hostname
from insula.domain.operation import Operation, Verb
from insula.domain.snapshot import Snapshot
from insula.frontends.dialects import history, sources
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.digitalocean import actions, images, sizes
from insula.frontends.dialects.digitalocean.backup_plans import Policy, disable, enable
from insula.frontends.dialects.digitalocean.dialect import DIALECT
from insula.frontends.dialects.digitalocean.find import droplet_of, droplets
from insula.frontends.dialects.records import ALL, check_text, fitting, naming, numbered, under_a_name, unknown


class _Wish(msgspec.Struct):
    type: str
    name: str = ""
    size: str = ""
    disk: bool = False
    image: int | str = ""
    backup_policy: Policy | None = None


async def _power_on(ask: Ask, instance: Instance, wish: _Wish) -> Operation:
    return await ask.actions.instances.start(ask.caller, instance.id, unless_on=True)


async def _power_off(ask: Ask, instance: Instance, wish: _Wish) -> Operation:
    return await ask.actions.instances.stop(ask.caller, instance.id, 0, unless_off=True)


async def _shutdown(ask: Ask, instance: Instance, wish: _Wish) -> Operation:
    return await ask.actions.instances.stop(ask.caller, instance.id, unless_off=True)


async def _reboot(ask: Ask, instance: Instance, wish: _Wish) -> Operation:
    return await ask.actions.instances.reboot(ask.caller, instance.id)


async def _power_cycle(ask: Ask, instance: Instance, wish: _Wish) -> Operation:
    return await ask.actions.instances.reboot(ask.caller, instance.id, 0)


async def _resize(ask: Ask, instance: Instance, wish: _Wish) -> Operation:
    """Without `disk` the disk keeps its size, so that the way back stays open."""
    size = sizes.OFFER.find(wish.size)
    room = size.disk_gib if wish.disk else None
    wanted = ResizeWish(size.plan, SizeWish(size.vcpus, size.memory_mib, room))
    operation = await ask.actions.instances.resize(ask.caller, instance.id, wanted)
    await ask.actions.aliases.note(instance.id, {"size": size.slug})
    return operation


async def _rebuild(ask: Ask, instance: Instance, wish: _Wish) -> Operation:
    source = await _source(ask, wish)
    return await ask.actions.instances.rebuild(ask.caller, instance.id, sources.rebuilding(source))


async def _restore(ask: Ask, instance: Instance, wish: _Wish) -> Operation:
    source = await _source(ask, wish)
    if not isinstance(source, Snapshot):
        raise Unsupported(
            f"A droplet cannot go back to {source.name} in place",
            why="It is not a snapshot",
            todo="Create a new droplet from it",
        )
    return await ask.actions.instances.revert(ask.caller, instance.id, source.id)


async def _source(ask: Ask, wish: _Wish) -> sources.Source:
    try:
        return await images.find(ask, str(wish.image))
    except NotFound as error:
        raise InvalidInput(
            "You specified an invalid image.", why=error.why, todo="Look at /v2/images", fields={"image": "unknown"}
        ) from error


async def _rename(ask: Ask, instance: Instance, wish: _Wish) -> Operation:
    check_hostname(wish.name, "name")
    others = (await ask.actions.instances.list(ask.caller, limit=ALL)).items
    ours = fitting(wish.name, {one.name for one in others} - {instance.name}, "droplet")
    await ask.actions.aliases.note(instance.id, naming(wish.name, ours))
    await ask.actions.instances.change(ask.caller, instance.id, ChangeWish(name=ours))
    return await history.last(ask, instance.id, Verb.RENAME_INSTANCE)


async def _snapshot(ask: Ask, instance: Instance, wish: _Wish) -> Operation:
    name = check_text(wish.name, "name") if wish.name else instance.name
    taken = {one.name for one in (await ask.actions.snapshots.list(ask.caller, limit=ALL)).items}
    ours, operation = await under_a_name(
        fitting(name, taken, "snapshot"),
        lambda ours: ask.actions.snapshots.create(ask.caller, SnapshotWish(instance.id, ours)),
    )
    await ask.actions.aliases.note(operation.target, naming(name, ours))
    return operation


async def _enable_backups(ask: Ask, instance: Instance, wish: _Wish) -> Operation:
    await enable(ask, instance, wish.backup_policy or Policy())
    return await history.last(ask, instance.id, Verb.SCHEDULE_BACKUPS)


async def _disable_backups(ask: Ask, instance: Instance, wish: _Wish) -> Operation:
    await disable(ask, instance)
    return await history.last(ask, instance.id, Verb.UNSCHEDULE_BACKUPS)


_Act = Callable[[Ask, Instance, _Wish], Awaitable[Operation]]
_ACTIONS: Mapping[str, _Act] = {
    "power_on": _power_on,
    "power_off": _power_off,
    "shutdown": _shutdown,
    "reboot": _reboot,
    "power_cycle": _power_cycle,
    "resize": _resize,
    "rebuild": _rebuild,
    "restore": _restore,
    "rename": _rename,
    "snapshot": _snapshot,
    "enable_backups": _enable_backups,
    "disable_backups": _disable_backups,
    "change_backup_policy": _enable_backups,
}
_UNAVAILABLE: Mapping[str, str] = {
    "password_reset": "Guests have SSH keys and no root password that we could change",
    "change_kernel": "Guests bring their own kernel",
    "enable_ipv6": "Every droplet has IPv6 from the beginning",
    "enable_private_networking": "Every droplet is in a network of its project",
}


def _act_of(wish: _Wish) -> _Act:
    if wish.type in _UNAVAILABLE:
        raise Unsupported(f"The action {wish.type} is not available", why=_UNAVAILABLE[wish.type], todo="Leave it out")
    if wish.type not in _ACTIONS:
        raise InvalidInput(
            f"{wish.type[:40]!r} is no action of droplets",
            why=f"There are {', '.join(_ACTIONS)}",
            todo="Choose one of them",
            fields={"type": "unknown"},
        )
    return _ACTIONS[wish.type]


@DIALECT.operation("POST", "/v2/droplets/{droplet_id}/actions", "dropletActions_post")
async def act(ask: Ask) -> Answer:
    instance, wish = await droplet_of(ask), ask.read(_Wish)
    operation = await _act_of(wish)(ask, instance, wish)
    return Answer({"action": await actions.view(ask, operation)}, 201)


@DIALECT.operation("POST", "/v2/droplets/actions", "dropletActions_post_byTag")
async def act_by_tag(ask: Ask) -> Answer:
    tag, wish = ask.query.get("tag_name", ""), ask.read(_Wish)
    if not tag:
        raise InvalidInput("tag_name is missing", why="It says which droplets", todo="Send it")
    run = _act_of(wish)
    tagged = [one for one in await droplets(ask) if tag in one.tags]
    done = [await run(ask, instance, wish) for instance in tagged]
    return Answer({"actions": await actions.views(ask, done)}, 201)


@DIALECT.operation("GET", "/v2/droplets/{droplet_id}/actions", "dropletActions_list")
async def list_actions(ask: Ask) -> Answer:
    return await actions.listed(ask, (await droplet_of(ask)).id)


@DIALECT.operation("GET", "/v2/droplets/{droplet_id}/actions/{action_id}", "dropletActions_get")
async def get_action(ask: Ask) -> Answer:
    instance = await numbered(ask, ask.path["droplet_id"], Kind.INSTANCE)
    operation = await actions.find(ask, ask.path["action_id"])
    if history.subject_of(operation) != instance or not is_id(instance, Kind.INSTANCE):
        raise unknown("action", ask.path["action_id"])
    return Answer({"action": await actions.view(ask, operation)})
