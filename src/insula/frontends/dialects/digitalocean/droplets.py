"""Droplets: listed, created and destroyed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from insula.base.errors import InsulaError, InvalidInput, NotFound, Unsupported
from insula.control.actions.wishes import CreateWish
from insula.domain.ids import Kind
from insula.domain.names import check_hostname
from insula.domain.operation import Operation
from insula.frontends.dialects import public_ips, sources
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.digitalocean import actions, images, keys, regions, sizes
from insula.frontends.dialects.digitalocean.backup_plans import Policy, enable
from insula.frontends.dialects.digitalocean.dialect import DIALECT, page, part
from insula.frontends.dialects.digitalocean.droplet_view import view, views
from insula.frontends.dialects.digitalocean.find import droplet_of, droplets
from insula.frontends.dialects.digitalocean.firewall_view import firewall_views
from insula.frontends.dialects.records import ALL, fitting, name_of, naming, of_uuid, under_a_name
from insula.frontends.dialects.removal import remove, take_back

_MOST_AT_ONCE = 10


class _New(msgspec.Struct):
    size: str
    image: int | str
    name: str = ""
    names: list[str] = []
    region: str = ""
    ssh_keys: list[int | str] = []
    backups: bool = False
    backup_policy: Policy | None = None
    monitoring: bool = False
    tags: list[str] = []
    user_data: str = ""
    volumes: list[str] = []
    vpc_uuid: str = ""
    with_droplet_agent: bool = False
    public_networking: bool = True


@DIALECT.operation("GET", "/v2/droplets", "droplets_list")
async def list_droplets(ask: Ask) -> Answer:
    found = await droplets(ask)
    if tag := ask.query.get("tag_name", ""):
        found = [one for one in found if tag in one.tags]
    if name := ask.query.get("name", ""):
        aliases = await ask.actions.aliases.of(one.id for one in found)
        found = [one for one in found if name_of(aliases[one.id], one.name).lower() == name.lower()]
    if ask.query.get("type", "") == "gpus":
        found = []
    return page(ask, "droplets", await views(ask, part(ask, found)), len(found))


@DIALECT.operation("GET", "/v2/droplets/{droplet_id}", "droplets_get")
async def get_droplet(ask: Ask) -> Answer:
    return Answer({"droplet": await view(ask, await droplet_of(ask))})


@DIALECT.operation("POST", "/v2/droplets", "droplets_create")
async def create_droplets(ask: Ask) -> Answer:
    """All that can be checked is checked before the first one is made."""
    wish = ask.read(_New)
    wanted = wish.names or [wish.name]
    if len(wanted) > _MOST_AT_ONCE:
        raise InvalidInput("Too many droplets at once", why=f"At most {_MOST_AT_ONCE} can be", todo="Ask for fewer")
    if wish.volumes:
        raise Unsupported(
            "Volumes are attached to droplets that exist",
            why="A new one has none yet",
            todo="Create the droplet, then use the volume's action `attach`",
        )
    base = await _base(ask, wish)
    made: list[Operation] = []
    try:
        for name in wanted:
            made.append(await _create(ask, wish, base, name))
    except InsulaError:
        for operation in made:  # all of them or none
            await take_back(ask, operation)
        raise
    found = [await ask.actions.instances.show(ask.caller, operation.target) for operation in made]
    shown = await views(ask, found)
    links = {"actions": [await actions.link(ask, operation, "create") for operation in made]}
    return Answer({"droplets": shown, "links": links} if wish.names else {"droplet": shown[0], "links": links}, 202)


async def _base(ask: Ask, wish: _New) -> CreateWish:
    """What all droplets of a request have."""
    size = sizes.OFFER.find(wish.size)
    try:
        source = await images.find(ask, str(wish.image))
    except NotFound as error:
        raise InvalidInput(
            "You specified an invalid image for Droplet creation.",
            why=error.why,
            todo="Look at /v2/images",
            fields={"image": "unknown"},
        ) from error
    return sources.launching(
        CreateWish(
            name="",
            plan=size.plan,
            size=size.wish,
            ssh_keys=await keys.names_of(ask, wish.ssh_keys),
            user_data=wish.user_data,
            tags=tuple(wish.tags),
            region=regions.check(wish.region),
            network=of_uuid(wish.vpc_uuid, Kind.NETWORK) if wish.vpc_uuid else "",
        ),
        source,
    )


async def _create(ask: Ask, wish: _New, base: CreateWish, name: str) -> Operation:
    if not name:
        raise InvalidInput("A droplet needs a name", why="name is missing", todo="Send one", fields={"name": "missing"})
    hostname = check_hostname(name, "name")
    taken = {one.name for one in (await ask.actions.instances.list(ask.caller, limit=ALL)).items}
    ours, operation = await under_a_name(
        fitting(name, taken, "droplet"),
        lambda ours: ask.actions.instances.create(ask.caller, replace(base, name=ours, hostname=hostname)),
    )
    facts = naming(name, ours) | {"region": regions.check(wish.region), "size": wish.size}
    facts |= {"monitoring": "on" if wish.monitoring else "", "droplet_agent": "on" if wish.with_droplet_agent else ""}
    await ask.actions.aliases.note(operation.target, facts, operation.id)
    try:
        if wish.public_networking:
            await public_ips.give(ask, operation.target)
        if wish.backups:
            made = await ask.actions.instances.show(ask.caller, operation.target)
            await enable(ask, made, wish.backup_policy or Policy())
    except InsulaError:
        await take_back(ask, operation)
        raise
    return operation


@DIALECT.operation("DELETE", "/v2/droplets/{droplet_id}", "droplets_destroy")
async def destroy_droplet(ask: Ask) -> Answer:
    """Its volumes stay, as there; it takes a moment to be gone."""
    await remove(ask, await droplet_of(ask))
    return Answer(status=204)


@DIALECT.operation("DELETE", "/v2/droplets", "droplets_destroy_byTag")
async def destroy_droplets(ask: Ask) -> Answer:
    tag = ask.query.get("tag_name", "")
    if not tag:
        raise InvalidInput("tag_name is missing", why="It says which droplets", todo="Send it")
    for instance in [one for one in await droplets(ask) if tag in one.tags]:
        await remove(ask, instance)
    return Answer(status=204)


@DIALECT.operation("GET", "/v2/droplets/{droplet_id}/kernels", "droplets_list_kernels")
async def list_kernels(ask: Ask) -> Answer:
    """Guests bring their own."""
    await droplet_of(ask)
    return page(ask, "kernels", [], 0)


@DIALECT.operation("GET", "/v2/droplets/{droplet_id}/neighbors", "droplets_list_neighbors")
async def list_neighbors(ask: Ask) -> Answer:
    """Who is on the same host: the project's others on its node."""
    instance = await droplet_of(ask)
    beside = [one for one in await droplets(ask) if one.node == instance.node and one.id != instance.id]
    return Answer({"droplets": await views(ask, beside)})


@DIALECT.operation("GET", "/v2/droplets/{droplet_id}/firewalls", "droplets_list_firewalls")
async def list_firewalls(ask: Ask) -> Answer:
    instance = await droplet_of(ask)
    found = [
        one
        for one in (await ask.actions.firewalls.list(ask.caller)).items
        if instance.id in one.instances or set(one.tags) & set(instance.tags)
    ]
    return page(ask, "firewalls", await firewall_views(ask, part(ask, found)), len(found))


@DIALECT.operation("GET", "/v2/droplets/{droplet_id}/snapshots", "droplets_list_snapshots")
async def list_snapshots(ask: Ask) -> Answer:
    instance = await droplet_of(ask)
    found = [one for one in (await sources.shelf(ask)).snapshots if one.instance_id == instance.id]
    return page(ask, "snapshots", await _kept(ask, part(ask, found)), len(found))


@DIALECT.operation("GET", "/v2/droplets/{droplet_id}/backups", "droplets_list_backups")
async def list_backups(ask: Ask) -> Answer:
    instance = await droplet_of(ask)
    found = [one for one in (await sources.shelf(ask)).backups if one.instance_id == instance.id]
    return page(ask, "backups", await _kept(ask, part(ask, found)), len(found))


async def _kept(ask: Ask, kept: Sequence[sources.Source]) -> list[dict[str, Any]]:
    """In these lists they have fewer fields than as images."""
    aliases = await ask.actions.aliases.of(sources.record_of(source) for source in kept)
    wanted = ("id", "name", "created_at", "regions", "min_disk_size", "size_gigabytes", "type")
    shown = [images.view(source, aliases[sources.record_of(source)]) for source in kept]
    return [{name: one[name] for name in wanted} for one in shown]
