"""Images: those of the catalogue are `linode/debian12`, published ones and snapshots are `private/17`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from insula.base.errors import Forbidden, InvalidInput, NotFound, Unsupported
from insula.control.actions.snapshots import SnapshotWish
from insula.domain.alias import Alias
from insula.domain.image import Image, ImageSource, ImageState
from insula.domain.snapshot import Snapshot, SnapshotState
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.linode.dialect import DIALECT, nothing, page, when
from insula.frontends.dialects.linode.disks import instance_of_disk
from insula.frontends.dialects.records import (
    ALL,
    check_text,
    finished,
    fitting,
    name_of,
    naming,
    patiently,
    under_a_name,
    unknown,
)
from insula.frontends.dialects.sources import Source, of_record, record_of, shelf

_PUBLIC, _OWN = "linode", "private"
_VENDORS = {"debian": "Debian", "ubuntu": "Ubuntu", "fedora": "Fedora", "rocky": "Rocky", "alpine": "Alpine"}
_STATES = {ImageState.BUILDING: "creating", ImageState.FAILED: "pending_upload"}
_MIB = 1 << 20


class _New(msgspec.Struct):
    disk_id: int
    label: str = ""
    description: str = ""
    cloud_init: bool = False
    tags: list[str] = []


class _Change(msgspec.Struct):
    label: str | None = None
    description: str | None = None
    tags: list[str] | None = None


def id_of(source: Source, alias: Alias) -> str:
    """What it is called there."""
    if isinstance(source, Image) and not source.id:
        return f"{_PUBLIC}/{source.name.replace('-', '')}"
    return f"{_OWN}/{alias.number}"


async def find(ask: Ask, text: str) -> Image | Snapshot:
    """By its id. Raises NotFound."""
    kind, _, name = text.partition("/")
    if kind == _PUBLIC:
        for image in (await ask.actions.images.list(ask.caller)).items:
            if not image.id and name in {image.name, image.name.replace("-", "")}:
                return image
    if kind == _OWN and name.isascii() and name.isdigit() and len(name) <= 18:
        found = await of_record(ask, await ask.actions.aliases.record_of(int(name)))
        if isinstance(found, Image | Snapshot):
            return found
    raise unknown("image", text)


async def wanted(ask: Ask, text: str) -> Image | Snapshot:
    """The one that a body names. Raises InvalidInput."""
    try:
        return await find(ask, text)
    except NotFound as error:
        raise InvalidInput(
            "image is not valid", why=error.why, todo="Look at /images", fields={"image": "unknown"}
        ) from error


def _view(source: Image | Snapshot, alias: Alias, by: str) -> dict[str, Any]:
    is_public = isinstance(source, Image) and source.source is not ImageSource.PUBLISHED
    made = source.made_at if isinstance(source, Image) else source.created_at
    changed = source.made_at if isinstance(source, Image) else source.updated_at
    start = datetime.fromtimestamp(0, UTC)
    size_mib = -(-source.size_bytes // _MIB)
    return {
        "id": id_of(source, alias),
        "label": _label(source, alias),
        "description": alias.facts.get("description", ""),
        "capabilities": ["cloud-init"],
        "created": when(made or start),
        "updated": when(changed or start),
        "created_by": "linode" if is_public else by,
        "deprecated": isinstance(source, Image) and source.deprecated,
        "eol": None,
        "expiry": None,
        "image_sharing": None,
        "is_public": is_public,
        "is_shared": isinstance(source, Image) and bool(source.shared_with or source.shared_with_all),
        "regions": [],
        "size": size_mib,
        "total_size": size_mib,
        "status": _status(source),
        "tags": list(source.tags) if isinstance(source, Snapshot) else [],
        "type": "manual",
        "vendor": _vendor(source.name if isinstance(source, Image) else source.image) if is_public else None,
    }


def _label(source: Image | Snapshot, alias: Alias) -> str:
    if isinstance(source, Snapshot):
        return name_of(alias, source.name)
    return source.reference if source.source is ImageSource.PUBLISHED else source.title


def _vendor(name: str) -> str:
    return next((vendor for word, vendor in _VENDORS.items() if name.startswith(word)), "Insula")


def _status(source: Image | Snapshot) -> str:
    if isinstance(source, Snapshot):
        return "available" if source.state is SnapshotState.AVAILABLE else "creating"
    return _STATES.get(source.state, "available")


async def _views(ask: Ask, found: Sequence[Image | Snapshot]) -> list[dict[str, Any]]:
    aliases = await ask.actions.aliases.of(record_of(one) for one in found)
    by = ask.caller.identity.project
    return [_view(one, aliases[record_of(one)], by) for one in found]


async def _shown(ask: Ask, record: Image | Snapshot) -> Answer:
    return Answer((await _views(ask, [record]))[0])


@DIALECT.operation("GET", "/images", "images.list")
async def list_images(ask: Ask) -> Answer:
    there = await shelf(ask)
    return page(ask, await _views(ask, [*there.images, *there.snapshots]))


@DIALECT.operation("POST", "/images", "images.create")
async def create_image(ask: Ask) -> Answer:
    """Of a disk, as it is at this moment."""
    wish = ask.read(_New)
    instance = await instance_of_disk(ask, wish.disk_id)
    label = check_text(wish.label, "label", 50) if wish.label else instance.name
    taken = {one.name for one in (await ask.actions.snapshots.list(ask.caller, limit=ALL)).items}
    tags = tuple(wish.tags)
    ours, operation = await under_a_name(
        fitting(label, taken, "image"),
        lambda ours: patiently(
            lambda: ask.actions.snapshots.create(ask.caller, SnapshotWish(instance.id, ours, tags=tags))
        ),
    )
    facts = naming(label, ours) | {"description": wish.description[:1000]}
    await ask.actions.aliases.note(operation.target, facts, operation.id)
    return await _shown(ask, await ask.actions.snapshots.show(ask.caller, operation.target))


@DIALECT.operation("POST", "/images/upload", "images.upload")
async def upload_image(ask: Ask) -> Answer:
    raise Unsupported(
        "Images cannot be uploaded here",
        why="Insula takes them as files on its host",
        todo="Use `insula image import` on the host",
    )


async def _in_path(ask: Ask) -> Image | Snapshot:
    return await find(ask, f"{ask.path['kind']}/{ask.path['image']}")


@DIALECT.operation("GET", "/images/{kind}/{image}", "images.view")
async def get_image(ask: Ask) -> Answer:
    return await _shown(ask, await _in_path(ask))


@DIALECT.operation("PUT", "/images/{kind}/{image}", "images.update")
async def update_image(ask: Ask) -> Answer:
    found, wish = await _in_path(ask), ask.read(_Change)
    if isinstance(found, Image):
        raise Unsupported(
            "This image keeps its label",
            why="Others know it by that" if found.id else "It belongs to the host",
            todo="Publish it under another with `insula image publish`",
        )
    ours = None
    if wish.label is not None:
        check_text(wish.label, "label", 50)
        others = (await ask.actions.snapshots.list(ask.caller, limit=ALL)).items
        ours = fitting(wish.label, {one.name for one in others if one.id != found.id}, "image")
    tags = None if wish.tags is None else tuple(wish.tags)
    changed = await ask.actions.snapshots.change(ask.caller, found.id, name=ours, tags=tags, protected=None)
    facts = naming(wish.label, ours) if wish.label is not None and ours is not None else {}
    facts |= {"description": wish.description[:1000]} if wish.description is not None else {}
    await ask.actions.aliases.note(found.id, facts)
    return await _shown(ask, changed)


@DIALECT.operation("DELETE", "/images/{kind}/{image}", "images.delete")
async def delete_image(ask: Ask) -> Answer:
    found = await _in_path(ask)
    if isinstance(found, Snapshot):
        operation = await patiently(lambda: ask.actions.snapshots.delete(ask.caller, found.id))
    elif found.id:
        operation = await ask.actions.images.delete(ask.caller, found.id)
    else:
        raise Forbidden(
            "Unauthorized",
            why="This image belongs to the host, and all projects use it",
            todo="Delete it with `insula image delete`",
        )
    await finished(ask, operation.id)
    return nothing()
