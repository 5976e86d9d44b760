"""Snapshots of droplets; our volumes have none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from insula.base.errors import InvalidInput, Unsupported
from insula.domain.snapshot import Snapshot
from insula.frontends.dialects import sources
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.digitalocean import images
from insula.frontends.dialects.digitalocean.dialect import DIALECT, page, part
from insula.frontends.dialects.digitalocean.find import volume
from insula.frontends.dialects.records import unknown

_KINDS = ("droplet", "volume")


async def _views(ask: Ask, snapshots: Sequence[Snapshot]) -> list[dict[str, Any]]:
    """Their ids are texts here, unlike in lists of a droplet's own."""
    records = [one for snapshot in snapshots for one in (snapshot.id, snapshot.instance_id)]
    aliases = await ask.actions.aliases.of(records)
    wanted = ("name", "created_at", "regions", "min_disk_size", "size_gigabytes", "tags")
    shown = []
    for snapshot in snapshots:
        image = images.view(snapshot, aliases[snapshot.id])
        owner = {"resource_id": str(aliases[snapshot.instance_id].number), "resource_type": "droplet"}
        shown.append({"id": str(image["id"]), **{name: image[name] for name in wanted}, **owner})
    return shown


async def _find(ask: Ask) -> Snapshot:
    source = await images.find(ask, ask.path["snapshot_id"])
    if not isinstance(source, Snapshot):
        raise unknown("snapshot", ask.path["snapshot_id"])
    return source


@DIALECT.operation("GET", "/v2/snapshots", "snapshots_list")
async def list_snapshots(ask: Ask) -> Answer:
    kind = ask.query.get("resource_type", "")
    if kind and kind not in _KINDS:
        raise InvalidInput("resource_type is not known", why=f"There are {', '.join(_KINDS)}", todo="Choose one")
    found = [] if kind == "volume" else (await sources.shelf(ask)).snapshots
    return page(ask, "snapshots", await _views(ask, part(ask, found)), len(found))


@DIALECT.operation("GET", "/v2/snapshots/{snapshot_id}", "snapshots_get")
async def get_snapshot(ask: Ask) -> Answer:
    return Answer({"snapshot": (await _views(ask, [await _find(ask)]))[0]})


@DIALECT.operation("DELETE", "/v2/snapshots/{snapshot_id}", "snapshots_delete")
async def delete_snapshot(ask: Ask) -> Answer:
    await images.delete(ask, await _find(ask))
    return Answer(status=204)


@DIALECT.operation("GET", "/v2/volumes/{volume_id}/snapshots", "volumeSnapshots_list")
async def list_volume_snapshots(ask: Ask) -> Answer:
    await volume(ask, ask.path["volume_id"])
    return page(ask, "snapshots", [], 0)


@DIALECT.operation("POST", "/v2/volumes/{volume_id}/snapshots", "volumeSnapshots_create")
async def create_volume_snapshot(ask: Ask) -> Answer:
    await volume(ask, ask.path["volume_id"])
    raise Unsupported(
        "Snapshots of volumes are not available",
        why="Snapshots are made of droplets, with their own disk",
        todo="Copy what is on it, or make a backup of the droplet",
    )


@DIALECT.operation("GET", "/v2/volumes/snapshots/{snapshot_id}", "volumeSnapshots_get_byId")
async def get_volume_snapshot(ask: Ask) -> Answer:
    raise unknown("snapshot", ask.path["snapshot_id"])


@DIALECT.operation("DELETE", "/v2/volumes/snapshots/{snapshot_id}", "volumeSnapshots_delete_byId")
async def delete_volume_snapshot(ask: Ask) -> Answer:
    raise unknown("snapshot", ask.path["snapshot_id"])
