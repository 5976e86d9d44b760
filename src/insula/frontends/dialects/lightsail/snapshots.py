"""Snapshots of instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from insula.control.actions.snapshots import SnapshotWish
from insula.domain.instance import Instance
from insula.domain.snapshot import Snapshot, SnapshotState
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.lightsail import blueprints, bundles, operations, tags
from insula.frontends.dialects.lightsail.dialect import New, answer, operation, page
from insula.frontends.dialects.lightsail.resource import (
    INSTANCE,
    SNAPSHOT,
    Named,
    arn,
    check_free,
    head,
    instance,
    instances,
    snapshot,
    snapshots,
    where_of,
)
from insula.frontends.dialects.records import ALL, fitting, naming, patiently, under_a_name

_STATES = {SnapshotState.CREATING: "pending", SnapshotState.AVAILABLE: "available"}


class _Which(New):
    instance_snapshot_name: str


class _New(_Which):
    instance_name: str
    tags: tuple[tags.Tag, ...] = ()


async def _views(ask: Ask, found: Sequence[Named[Snapshot]]) -> list[dict[str, Any]]:
    there = {one.thing.id: one for one in await instances(ask)}
    images = {image.key: image.reference for image in await blueprints.offered(ask)}
    return [_view(one, there, images) for one in found]


def _view(found: Named[Snapshot], there: Mapping[str, Named[Instance]], images: Mapping[str, str]) -> dict[str, Any]:
    taken, facts = found.thing, found.alias.facts
    size = bundles.OFFER.of(taken.plan, taken.resources, facts.get("bundle", ""))
    host = there.get(taken.instance_id)
    location = where_of(found.alias)
    return head(SNAPSHOT, found, location, taken.created_at) | {
        "tags": tags.views(taken.tags, facts),
        "state": _STATES.get(taken.state, "error"),
        "progress": "100%" if taken.state is SnapshotState.AVAILABLE else "0%",
        "fromAttachedDisks": [],
        "fromInstanceName": host.name if host is not None else facts.get("from", ""),
        "fromInstanceArn": arn(INSTANCE, taken.project, taken.instance_id, location["regionName"]),
        "fromBlueprintId": blueprints.id_of(images.get(taken.image, taken.image)),
        "fromBundleId": size.slug,
        "isFromAutoSnapshot": False,
        "sizeInGb": taken.resources.disk_gib,
    }


@operation("GetInstanceSnapshots")
async def get_instance_snapshots(ask: Ask) -> Answer:
    shown, more = page(ask, await snapshots(ask), lambda one: one.thing.id)
    return answer(instanceSnapshots=await _views(ask, shown), **more)


@operation("GetInstanceSnapshot")
async def get_instance_snapshot(ask: Ask) -> Answer:
    found = await snapshot(ask, ask.read(_Which).instance_snapshot_name)
    return answer(instanceSnapshot=(await _views(ask, [found]))[0])


@operation("CreateInstanceSnapshot")
async def create_instance_snapshot(ask: Ask) -> Answer:
    wish = ask.read(_New)
    host, there = await instance(ask, wish.instance_name), await snapshots(ask)
    check_free([wish.instance_snapshot_name], there)
    words = tags.words(wish.tags)
    taken = {one.name for one in (await ask.actions.snapshots.list(ask.caller, limit=ALL)).items}
    ours, begun = await under_a_name(
        fitting(wish.instance_snapshot_name, taken, "snapshot"),
        lambda ours: patiently(
            lambda: ask.actions.snapshots.create(ask.caller, SnapshotWish(host.thing.id, ours, tags=words))
        ),
    )
    known = host.alias.facts
    facts = {"zone": known.get("zone", ""), "bundle": known.get("bundle", ""), "from": host.name}
    await ask.actions.aliases.note(
        begun.target, naming(wish.instance_snapshot_name, ours) | facts | tags.facts(wish.tags), begun.id
    )
    return await operations.begun(ask, begun)


@operation("DeleteInstanceSnapshot")
async def delete_instance_snapshot(ask: Ask) -> Answer:
    found = await snapshot(ask, ask.read(_Which).instance_snapshot_name)
    begun = await patiently(lambda: ask.actions.snapshots.delete(ask.caller, found.thing.id))
    return await operations.begun(ask, begun)
