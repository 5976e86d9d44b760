"""Linodes: listed, created, changed and deleted."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from typing import Any

import msgspec

from insula.base.errors import InsulaError, InvalidInput, Unsupported
from insula.control.actions.root_password import with_root_password
from insula.control.actions.wishes import ChangeWish, CreateWish
from insula.frontends.dialects import public_ips, sources
from insula.frontends.dialects.backup_place import backup_place
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.linode import account, backups, firewall_devices, images, keys, regions, types, vpcs
from insula.frontends.dialects.linode.account import POLICY
from insula.frontends.dialects.linode.dialect import DIALECT, nothing, page
from insula.frontends.dialects.linode.find import linode_of, linodes
from insula.frontends.dialects.linode.instance_view import view, views
from insula.frontends.dialects.linode.records import check_label, check_ours
from insula.frontends.dialects.records import (
    ALL,
    fitting,
    name_of,
    naming,
    under_a_name,
)
from insula.frontends.dialects.removal import remove, take_back


class Metadata(msgspec.Struct):
    user_data: str | None = None


class Login(msgspec.Struct):
    """What is asked of a new disk, and how its owner gets in."""

    authorized_keys: list[str] | None = None
    authorized_users: list[str] | None = None
    root_pass: str | None = None
    metadata: Metadata | None = None
    disk_encryption: str | None = None
    maintenance_policy: str | None = None


class _New(Login):
    type: str = ""
    region: str = ""
    image: str | None = None
    label: str | None = None
    tags: list[str] = []
    booted: bool = True
    backup_id: int | None = None
    backups_enabled: bool = False
    firewall_id: int | None = None
    interfaces: list[vpcs.Interface] = []
    placement_group: dict[str, Any] | None = None
    stackscript_id: int | None = None


class _Change(msgspec.Struct):
    label: str | None = None
    tags: list[str] | None = None
    maintenance_policy: str | None = None
    alerts: dict[str, int] | None = None
    watchdog_enabled: bool | None = None


@DIALECT.operation("GET", "/linode/instances", "linodes.list")
async def list_linodes(ask: Ask) -> Answer:
    return page(ask, await views(ask, await linodes(ask)))


@DIALECT.operation("GET", "/linode/instances/{linode}", "linodes.view")
async def get_linode(ask: Ask) -> Answer:
    return Answer(await view(ask, await linode_of(ask)))


@DIALECT.operation("POST", "/linode/instances", "linodes.create")
async def create_linode(ask: Ask) -> Answer:
    """All that can be checked is checked before it is made."""
    wish = ask.read(_New)
    _check(wish)
    base = await _base(ask, wish)
    wall = None if wish.firewall_id is None else await firewall_devices.wanted(ask, wish.firewall_id)
    is_backed_up = wish.backups_enabled or await account.backs_up_all(ask)
    if is_backed_up:
        await backup_place(ask)
    others = (await ask.actions.instances.list(ask.caller, limit=ALL)).items
    ours = fitting(wish.label or "linode", {one.name for one in others}, "linode")
    if wish.label:
        check_label(wish.label)
        check_ours(wish.label, await _labels(ask), "Linodes")
    ours, operation = await under_a_name(
        ours, lambda name: ask.actions.instances.create(ask.caller, replace(base, name=name))
    )
    facts = naming(wish.label or ours, ours) | {"region": wish.region, "type": wish.type}
    await ask.actions.aliases.note(operation.target, facts, operation.id)
    made = await ask.actions.instances.show(ask.caller, operation.target)
    try:
        await public_ips.give(ask, made.id)
        if wall is not None:
            await ask.actions.firewalls.apply(ask.caller, wall.id, (made.id,), ())
        if is_backed_up:
            await backups.enable(ask, made)
    except InsulaError:
        await take_back(ask, operation)
        raise
    return Answer(await view(ask, made))


def check_promises(wish: Login) -> None:
    """Raise Unsupported for what would be promised and not kept."""
    if wish.disk_encryption not in (None, "disabled"):
        raise Unsupported(
            "Disks are not encrypted here", why="The host's own disk may be", todo="Send disk_encryption disabled"
        )
    check_policy(wish.maintenance_policy)


def check_policy(wanted: str | None) -> None:
    """Raise Unsupported for another maintenance policy than the only one."""
    if wanted not in (None, POLICY):
        raise Unsupported(
            f"There is no maintenance policy but {POLICY}", why="There is one host", todo="Leave maintenance_policy out"
        )


def _check(wish: _New) -> None:
    """Raise InvalidInput and Unsupported for what cannot be had."""
    check_promises(wish)
    if wish.placement_group:
        raise Unsupported("There are no placement groups", why="There is one host", todo="Leave placement_group out")
    _check_place(wish)
    if wish.image is None and wish.backup_id is None:
        raise Unsupported(
            "An empty Linode cannot be had", why="It would have no disk to boot from", todo="Send image or backup_id"
        )
    if wish.image is not None and not (wish.root_pass or wish.authorized_keys or wish.authorized_users):
        raise InvalidInput(
            "Must provide valid root_pass, authorized_keys, or authorized_users",
            why="Nobody could get in otherwise",
            todo="Send one of them",
        )
    if wish.image is not None and wish.backup_id is not None:
        raise InvalidInput(
            "image and backup_id exclude each other", why="Both say what is on its disk", todo="Send one"
        )
    if not wish.booted:
        raise Unsupported(
            "A Linode boots when it is made", why="That is how its guest learns who it is", todo="Shut it down then"
        )
    if wish.stackscript_id is not None:
        raise Unsupported(
            "There are no StackScripts here", why="Insula has no such feature", todo="Use metadata.user_data"
        )


def _check_place(wish: _New) -> None:
    """Raise InvalidInput that names both when both are wrong."""
    missing = [name for name in ("type", "region") if not getattr(wish, name)]
    wrong = {name: f"{name} is required" for name in missing}
    if wish.type and wish.type not in types.TYPES.slugs:
        wrong["type"] = types.UNKNOWN
    if wish.region and not regions.is_there(wish.region):
        wrong["region"] = regions.UNKNOWN
    if wrong:
        raise InvalidInput(
            next(iter(wrong.values())),
            why="It says what the Linode is and where",
            todo="Look at /linode/types and /regions",
            fields=wrong,
        )


async def _base(ask: Ask, wish: _New) -> CreateWish:
    size = types.wanted(wish.type)
    new = CreateWish(
        name="",
        plan=size.plan,
        size=size.wish,
        ssh_keys=await login_keys(ask, wish),
        user_data=user_data(wish),
        tags=tuple(wish.tags),
        region=regions.check(wish.region),
        network=await vpcs.network_of(ask, wish.interfaces),
    )
    if wish.image is not None:
        return sources.launching(new, await images.wanted(ask, wish.image))
    return sources.launching(new, await backups.wanted(ask, wish.backup_id))


async def login_keys(ask: Ask, login: Login) -> tuple[str, ...]:
    """Raises InvalidInput."""
    return (*(login.authorized_keys or ()), *await keys.of_users(ask, login.authorized_users or ()))


def user_data(login: Login) -> str:
    """With the root password. Raises InvalidInput for what is no base64 of a text."""
    encoded = login.metadata.user_data if login.metadata is not None else None
    try:
        text = base64.b64decode(encoded or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise InvalidInput(
            "metadata.user_data cannot be used",
            why=f"It is no text in base64: {error}",
            todo="Encode it",
            fields={"metadata.user_data": "is no base64"},
        ) from error
    return text if login.root_pass is None else with_root_password(text, login.root_pass, "root_pass")


async def _labels(ask: Ask, but: str = "") -> set[str]:
    found = [one for one in await linodes(ask) if one.id != but]
    aliases = await ask.actions.aliases.of(one.id for one in found)
    return {name_of(aliases[one.id], one.name) for one in found}


@DIALECT.operation("PUT", "/linode/instances/{linode}", "linodes.update")
async def update_linode(ask: Ask) -> Answer:
    """Its label and tags; what else is sent must be as it is."""
    found, wish = await linode_of(ask), ask.read(_Change)
    check_policy(wish.maintenance_policy)
    if any((wish.alerts or {}).values()) or wish.watchdog_enabled is False:
        raise Unsupported(
            "Alerts and the watchdog cannot be changed",
            why="Nobody is alerted here, and a guest that dies is started again",
            todo="Leave them out",
        )
    change = ChangeWish(tags=None if wish.tags is None else tuple(wish.tags))
    if wish.label is not None:
        check_label(wish.label)
        check_ours(wish.label, await _labels(ask, found.id), "Linodes")
        others = (await ask.actions.instances.list(ask.caller, limit=ALL)).items
        change = replace(change, name=fitting(wish.label, {one.name for one in others} - {found.name}, "linode"))
    changed = await ask.actions.instances.change(ask.caller, found.id, change)
    if wish.label is not None:
        await ask.actions.aliases.note(found.id, naming(wish.label, changed.name))
    return Answer(await view(ask, changed))


@DIALECT.operation("DELETE", "/linode/instances/{linode}", "linodes.delete")
async def delete_linode(ask: Ask) -> Answer:
    """Its volumes stay, as there; it takes a moment to be gone."""
    await remove(ask, await linode_of(ask))
    return nothing()
