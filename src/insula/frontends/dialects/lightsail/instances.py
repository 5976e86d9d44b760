"""Instances: listed, created, started, stopped, rebooted and deleted."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from insula.base.errors import InsulaError, InvalidInput, Unsupported
from insula.control.actions.wishes import CreateWish
from insula.domain.backup import Backup
from insula.domain.image import Image, Provisioning
from insula.domain.instance import Instance
from insula.domain.operation import Operation
from insula.frontends.dialects import public_ips, sources
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.lightsail import blueprints, bundles, key_pairs, operations, ports, regions, tags
from insula.frontends.dialects.lightsail.add_ons import AddOn, check_add_ons, enable
from insula.frontends.dialects.lightsail.auto_snapshots import automatic
from insula.frontends.dialects.lightsail.dialect import New, answer, operation, page
from insula.frontends.dialects.lightsail.instance_view import USER, addresses_of, state_of, views
from insula.frontends.dialects.lightsail.resource import Named, check_free, instance, instances, snapshot
from insula.frontends.dialects.records import ALL, fitting, naming, patiently, under_a_name
from insula.frontends.dialects.removal import remove, take_back

_MOST_AT_ONCE = 20
# How user-data begins that says itself what it is (cloud-init, "User-data formats").
_FORMATS = ("#!", "#cloud-", "#include", "#part-handler", "## template:", "Content-Type:", "MIME-Version:")


class Which(New):
    instance_name: str


class _Listing(New):
    include_health_status: bool = False


class _Wishes(New):
    """What all that are created together have."""

    instance_names: list[str]
    availability_zone: str
    bundle_id: str
    user_data: str = ""
    key_pair_name: str = ""
    tags: tuple[tags.Tag, ...] = ()
    add_ons: tuple[AddOn, ...] = ()
    ip_address_type: str = "dualstack"


class _FromBlueprint(_Wishes, kw_only=True):
    blueprint_id: str
    custom_image_name: str = ""


class _FromSnapshot(_Wishes, kw_only=True):
    instance_snapshot_name: str = ""
    source_instance_name: str = ""
    restore_date: str = ""
    use_latest_restorable_auto_snapshot: bool = False
    attached_disk_mapping: dict[str, list[dict[str, str]]] | None = None


@operation("GetInstances")
async def get_instances(ask: Ask) -> Answer:
    wish = ask.read(_Listing)
    shown, more = page(ask, await instances(ask), lambda one: one.thing.id)
    return answer(instances=await views(ask, shown, with_health=wish.include_health_status), **more)


@operation("GetInstance")
async def get_instance(ask: Ask) -> Answer:
    found, wish = await instance(ask, ask.read(Which).instance_name), ask.read(_Listing)
    return answer(instance=(await views(ask, [found], with_health=wish.include_health_status))[0])


@operation("GetInstanceState")
async def get_instance_state(ask: Ask) -> Answer:
    return answer(state=state_of((await instance(ask, ask.read(Which).instance_name)).thing))


class _Access(Which):
    protocol: str = "ssh"


@operation("GetInstanceAccessDetails")
async def get_access_details(ask: Ask) -> Answer:
    """Where to log in. Nobody has a key but who it was made with, so none is told."""
    wish = ask.read(_Access)
    found = await instance(ask, wish.instance_name)
    if wish.protocol not in {"", "ssh"}:
        raise InvalidInput("The protocol is not there", why="There is ssh only", todo="Leave it out")
    reached = await addresses_of(ask, found.thing)
    shown = {"protocol": "ssh", "instanceName": found.name, "username": USER, "hostKeys": []}
    if reached.public:
        shown |= {"ipAddress": reached.public, "ipv6Addresses": list(reached.ipv6)}
    return answer(accessDetails=shown)


@operation("CreateInstances")
async def create_instances(ask: Ask) -> Answer:
    wish = ask.read(_FromBlueprint)
    image = await blueprints.find(ask, wish.blueprint_id)
    return await _create_all(ask, wish, image)


@operation("CreateInstancesFromSnapshot")
async def create_from_snapshot(ask: Ask) -> Answer:
    """From one by name, or from an automatic one of an instance."""
    wish = ask.read(_FromSnapshot)
    if wish.attached_disk_mapping:
        raise Unsupported(
            "attachedDiskMapping is not available",
            why="Snapshots hold no attached disks",
            todo="Leave it out, and attach disks afterwards",
        )
    source: sources.Source
    if wish.source_instance_name:
        date = "" if wish.use_latest_restorable_auto_snapshot else wish.restore_date
        source = await automatic(ask, wish.source_instance_name, date)
    else:
        source = (await snapshot(ask, wish.instance_snapshot_name)).thing
    return await _create_all(ask, wish, source)


async def _create_all(ask: Ask, wish: _Wishes, source: sources.Source) -> Answer:
    """All that can be checked is checked before the first one is made."""
    if not 1 <= len(wish.instance_names) <= _MOST_AT_ONCE:
        raise InvalidInput(
            "instanceNames is not usable", why=f"It has 1 to {_MOST_AT_ONCE} names", todo="Send one request for each"
        )
    if wish.ip_address_type not in {"", "dualstack"}:
        raise Unsupported(
            f"There are no instances of type {wish.ip_address_type[:20]}",
            why="Each has the addresses that its network has, of IPv4 and IPv6",
            todo="Leave ipAddressType out",
        )
    regions.check_zone(wish.availability_zone)
    check_free(wish.instance_names, await instances(ask))
    check_add_ons(wish.add_ons)
    size = bundles.OFFER.find(wish.bundle_id)
    base = CreateWish(
        name="",
        plan=size.plan,
        size=size.wish,
        ssh_keys=await _keys(ask, wish.key_pair_name, source),
        user_data=_script(wish.user_data),
        tags=tags.words(wish.tags),
        region=wish.availability_zone,
    )
    made: list[Operation] = []
    try:
        for name in wish.instance_names:
            made.append(await _create(ask, wish, sources.launching(base, source), name))
    except InsulaError:
        for begun in made:  # all of them or none
            await _undo(ask, begun)
        raise
    return await operations.begun(ask, *made)


async def _create(ask: Ask, wish: _Wishes, base: CreateWish, name: str) -> Operation:
    taken = {one.name for one in (await ask.actions.instances.list(ask.caller, limit=ALL)).items}
    ours, begun = await under_a_name(
        fitting(name, taken, "instance"),
        lambda ours: patiently(lambda: ask.actions.instances.create(ask.caller, replace(base, name=ours))),
    )
    facts = naming(name, ours) | {"zone": wish.availability_zone, "bundle": wish.bundle_id}
    facts |= {"key": wish.key_pair_name or (key_pairs.DEFAULT if base.ssh_keys else "")} | tags.facts(wish.tags)
    await ask.actions.aliases.note(begun.target, facts, begun.id)
    try:
        created = await ask.actions.instances.show(ask.caller, begun.target)
        await ports.put(ask, created, ports.AT_FIRST)
        await public_ips.give(ask, created.id)
        for add_on in wish.add_ons:
            await enable(ask, created, add_on)
    except InsulaError:
        await _undo(ask, begun)
        raise
    return begun


async def _undo(ask: Ask, begun: Operation) -> None:
    """Take back an instance that was asked for with others, with all that it has outside of itself."""
    await take_back(ask, begun)
    with contextlib.suppress(InsulaError):
        await ports.forget(ask, begun.target)


async def _keys(ask: Ask, name: str, source: sources.Source) -> tuple[str, ...]:
    """The key that is named; without a name the default, unless nothing in the image would read it."""
    if not name and not isinstance(source, Backup):
        base = source.key if isinstance(source, Image) else source.image
        image = next((one for one in await blueprints.offered(ask) if one.key == base), None)
        if image is not None and image.provisioning is Provisioning.NONE:
            return ()
    return (await key_pairs.public_key(ask, name),)


def _script(user_data: str) -> str:
    """Theirs are lines of a shell script, with or without the first line that says so."""
    return user_data if not user_data or user_data.startswith(_FORMATS) else f"#!/bin/sh\n{user_data}"


@operation("StartInstance")
async def start_instance(ask: Ask) -> Answer:
    found = await _which(ask)
    begun = await patiently(lambda: ask.actions.instances.start(ask.caller, found.thing.id, unless_on=True))
    return await operations.begun(ask, begun)


class _Stop(Which):
    force: bool = False


@operation("StopInstance")
async def stop_instance(ask: Ask) -> Answer:
    found, stop = await _which(ask), ask.actions.instances.stop
    if ask.read(_Stop).force:
        begun = await patiently(lambda: stop(ask.caller, found.thing.id, 0, unless_off=True))
    else:
        begun = await patiently(lambda: stop(ask.caller, found.thing.id, unless_off=True))
    return await operations.begun(ask, begun)


@operation("RebootInstance")
async def reboot_instance(ask: Ask) -> Answer:
    found = await _which(ask)
    return await operations.begun(
        ask, await patiently(lambda: ask.actions.instances.reboot(ask.caller, found.thing.id))
    )


@operation("DeleteInstance")
async def delete_instance(ask: Ask) -> Answer:
    """Its disks stay. Its automatic snapshots stay as well, in the backup store."""
    found = await _which(ask)
    begun = await remove(ask, found.thing)
    await ports.forget(ask, found.thing.id)
    return await operations.begun(ask, begun)


async def _which(ask: Ask) -> Named[Instance]:
    return await instance(ask, ask.read(Which).instance_name)
