"""Images: those of the catalogue have slugs; published ones, snapshots and backups are the project's own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from insula.base.errors import InvalidInput, Unsupported
from insula.domain.alias import Alias
from insula.domain.backup import Backup, BackupState
from insula.domain.image import Image, ImageSource, ImageState
from insula.domain.snapshot import Snapshot, SnapshotState
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.digitalocean import regions
from insula.frontends.dialects.digitalocean.dialect import DIALECT, page, part, when
from insula.frontends.dialects.records import check_text, finished, fitting, name_of, naming, unknown
from insula.frontends.dialects.sources import Source, of_record, record_of, shelf

_ARCHITECTURE = "-x64"
_DISTRIBUTIONS = {"debian": "Debian", "ubuntu": "Ubuntu", "fedora": "Fedora", "rocky": "Rocky Linux"}
_GIB = 1 << 30
_STATES = {ImageState.READY: "available", ImageState.BUILDING: "pending", ImageState.ABSENT: "available"}


async def find(ask: Ask, text: str) -> Source:
    """By number, or by slug for those of the catalogue. Raises NotFound."""
    if text.isascii() and text.isdigit() and len(text) <= 18:
        found = await of_record(ask, await ask.actions.aliases.record_of(int(text)))
        if found is not None:
            return found
    for image in (await ask.actions.images.list(ask.caller)).items:
        if not image.id and text in {image.name, slug_of(image)}:
            return image
    raise unknown("image", text)


def slug_of(image: Image) -> str | None:
    """Theirs end with the architecture."""
    return None if image.id else f"{image.name}{_ARCHITECTURE}"


def view(source: Source, alias: Alias) -> dict[str, Any]:
    if isinstance(source, Image):
        return _image_view(source, alias)
    kind = "snapshot" if isinstance(source, Snapshot) else "backup"
    tags = list(source.tags) if isinstance(source, Snapshot) else []
    is_ready = source.state in {SnapshotState.AVAILABLE, BackupState.AVAILABLE}
    shown = _view(alias, name_of(alias, source.name), kind, source.image)
    return shown | {
        "created_at": when(source.created_at),
        "min_disk_size": source.resources.disk_gib,
        "size_gigabytes": round(source.size_bytes / _GIB, 2),
        "tags": tags,
        "status": "available" if is_ready else "pending",
    }


def _image_view(image: Image, alias: Alias) -> dict[str, Any]:
    is_public = image.source is not ImageSource.PUBLISHED
    title = image.title if is_public else name_of(alias, image.reference)
    shown = _view(alias, title, "base" if is_public else "custom", image.name)
    return shown | {
        "slug": slug_of(image),
        "public": is_public,
        "created_at": when(image.made_at or datetime.fromtimestamp(0, UTC)),
        "min_disk_size": image.min_disk_gib,
        "size_gigabytes": round(image.size_bytes / _GIB, 2),
        "description": alias.facts.get("description") or image.title,
        "status": _STATES.get(image.state, "deleted"),
        "error_message": image.problem,
    }


def _view(alias: Alias, name: str, kind: str, base: str) -> dict[str, Any]:
    return {
        "id": alias.number,
        "name": name,
        "type": kind,
        "distribution": _DISTRIBUTIONS.get(base.partition("-")[0], "Unknown"),
        "slug": None,
        "public": False,
        "regions": list(regions.SLUGS),
        "description": alias.facts.get("description", ""),
        "tags": [],
        "error_message": "",
    }


@DIALECT.operation("GET", "/v2/images", "images_list")
async def list_images(ask: Ask) -> Answer:
    kind, is_private = ask.query.get("type", ""), ask.query.get("private", "").lower() == "true"
    if kind not in {"", "distribution", "application"}:
        raise InvalidInput("type is not known", why="There are distribution and application", todo="Choose one of them")
    found = [source for source in (await shelf(ask)).all if _is_wanted(source, kind, is_private)]
    if tag := ask.query.get("tag_name", ""):
        found = [source for source in found if isinstance(source, Snapshot) and tag in source.tags]
    shown = await _views(ask, part(ask, found))
    return page(ask, "images", shown, len(found))


def _is_wanted(source: Source, kind: str, is_private: bool) -> bool:
    is_public = isinstance(source, Image) and source.source is not ImageSource.PUBLISHED
    return kind != "application" and not (is_private and is_public) and not (kind and not is_public)


async def _views(ask: Ask, sources: Sequence[Source]) -> list[dict[str, Any]]:
    aliases = await ask.actions.aliases.of(record_of(source) for source in sources)
    return [view(source, aliases[record_of(source)]) for source in sources]


@DIALECT.operation("GET", "/v2/images/{image_id}", "images_get")
async def get_image(ask: Ask) -> Answer:
    return Answer({"image": (await _views(ask, [await find(ask, ask.path["image_id"])]))[0]})


class _Change(msgspec.Struct):
    name: str = ""
    description: str | None = None
    distribution: str = ""


@DIALECT.operation("PUT", "/v2/images/{image_id}", "images_update")
async def update_image(ask: Ask) -> Answer:
    """Only their name and description: what they are made of stays."""
    source, wish = await find(ask, ask.path["image_id"]), ask.read(_Change)
    name = check_text(wish.name, "name") if wish.name else ""
    if isinstance(source, Image):
        raise Unsupported("An image's name is fixed", why="Others know it by that", todo="Publish it under another")
    if name:
        await rename(ask, source, name)
    if wish.description is not None:
        await _touch(ask, source)
        await ask.actions.aliases.note(source.id, {"description": wish.description[:1000]})
    return Answer({"image": (await _views(ask, [await find(ask, ask.path["image_id"])]))[0]})


async def _touch(ask: Ask, source: Snapshot | Backup) -> None:
    """Raise Forbidden unless the caller may change it."""
    if isinstance(source, Snapshot):
        await ask.actions.snapshots.change(ask.caller, source.id, None, None, None)
    else:
        await ask.actions.backups.change(ask.caller, source.id, None, None)


async def rename(ask: Ask, source: Snapshot | Backup, name: str) -> None:
    """Give it their name, and ours after it."""
    there = await shelf(ask)
    same_kind: Sequence[Source] = there.snapshots if isinstance(source, Snapshot) else there.backups
    ours = fitting(name, {one.name for one in same_kind if one.id != source.id}, source.name)
    if isinstance(source, Snapshot):
        await ask.actions.snapshots.change(ask.caller, source.id, name=ours, tags=None, protected=None)
    else:
        await ask.actions.backups.change(ask.caller, source.id, ours, None)
    await ask.actions.aliases.note(source.id, naming(name, ours))


@DIALECT.operation("DELETE", "/v2/images/{image_id}", "images_delete")
async def delete_image(ask: Ask) -> Answer:
    await delete(ask, await find(ask, ask.path["image_id"]))
    return Answer(status=204)


async def delete(ask: Ask, source: Source) -> None:
    """Gone when this returns, unless it takes long."""
    if isinstance(source, Snapshot):
        operation = await ask.actions.snapshots.delete(ask.caller, source.id)
    elif isinstance(source, Backup):
        operation = await ask.actions.backups.delete(ask.caller, source.id)
    elif source.id:
        operation = await ask.actions.images.delete(ask.caller, source.id)
    else:
        raise Unsupported(
            "This image belongs to the host", why="All projects use it", todo="Delete it with `insula image delete`"
        )
    await finished(ask, operation.id)
