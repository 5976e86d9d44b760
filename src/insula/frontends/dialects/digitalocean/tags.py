"""Tags. Ours are no records of their own; those that nothing carries are kept as facts of the project."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from insula.base.errors import InvalidInput, Unsupported
from insula.control.actions.wishes import ChangeWish
from insula.domain.instance import Instance
from insula.domain.snapshot import Snapshot
from insula.domain.volume import Volume
from insula.frontends.dialects import sources
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.digitalocean import images
from insula.frontends.dialects.digitalocean.dialect import DIALECT, page, part
from insula.frontends.dialects.digitalocean.find import droplet, droplets, volume
from insula.frontends.dialects.records import ALL, numbers, unknown, uuid_of

_NAME = re.compile(r"[a-zA-Z0-9_\-:]{1,255}")
_FACT = "tag:"
Tagged = Instance | Volume | Snapshot


class _New(msgspec.Struct):
    name: str


class _Resource(msgspec.Struct):
    resource_id: str
    resource_type: str


class _Resources(msgspec.Struct):
    resources: list[_Resource]


class _Carriers(msgspec.Struct):
    droplets: list[Instance]
    volumes: list[Volume]
    images: list[Snapshot]

    @property
    def all(self) -> list[Tagged]:
        return [*self.droplets, *self.volumes, *self.images]


async def _declared(ask: Ask) -> list[str]:
    facts = await ask.actions.aliases.of_project(ask.caller)
    return [name.removeprefix(_FACT) for name in facts if name.startswith(_FACT)]


async def _carriers(ask: Ask) -> _Carriers:
    found = (await ask.actions.volumes.list(ask.caller, limit=ALL, used=False)).items
    return _Carriers(list(await droplets(ask)), list(found), list((await sources.shelf(ask)).snapshots))


async def _views(ask: Ask, names: Sequence[str], there: _Carriers) -> list[dict[str, Any]]:
    known = await numbers(ask, [one.id for one in there.all])
    return [_view(ask, name, there, known) for name in names]


def _view(ask: Ask, name: str, there: _Carriers, known: Mapping[str, int]) -> dict[str, Any]:
    kinds = {
        "droplets": [f"droplets/{known[one.id]}" for one in there.droplets if name in one.tags],
        "images": [f"images/{known[one.id]}" for one in there.images if name in one.tags],
        "volumes": [f"volumes/{uuid_of(one.id)}" for one in there.volumes if name in one.tags],
        "volume_snapshots": [],
        "databases": [],
    }
    paths = [path for found in kinds.values() for path in found]
    resources: dict[str, Any] = {"count": len(paths)}
    resources |= {"last_tagged_uri": f"{ask.root}/v2/{paths[-1]}"} if paths else {}
    for kind, found in kinds.items():
        resources[kind] = {"count": len(found)}
        if found:
            resources[kind]["last_tagged_uri"] = f"{ask.root}/v2/{found[-1]}"
    return {"name": name, "resources": resources}


async def _all(ask: Ask, there: _Carriers) -> list[str]:
    carried = {tag for one in there.all for tag in one.tags}
    return sorted(carried | set(await _declared(ask)))


async def _find(ask: Ask) -> tuple[str, _Carriers]:
    name, there = ask.path["tag"], await _carriers(ask)
    if name not in await _all(ask, there):
        raise unknown("tag", name)
    return name, there


@DIALECT.operation("GET", "/v2/tags", "tags_list")
async def list_tags(ask: Ask) -> Answer:
    there = await _carriers(ask)
    found = await _all(ask, there)
    return page(ask, "tags", await _views(ask, part(ask, found), there), len(found))


@DIALECT.operation("POST", "/v2/tags", "tags_create")
async def create_tag(ask: Ask) -> Answer:
    name = ask.read(_New).name
    if not _NAME.fullmatch(name):
        raise InvalidInput("This cannot be a tag", why="A tag has letters, digits, _, - and :", todo="Choose another")
    there = await _carriers(ask)
    await ask.actions.aliases.describe_project(ask.caller, {f"{_FACT}{name}": "declared"})
    return Answer({"tag": (await _views(ask, [name], there))[0]}, 201)


@DIALECT.operation("GET", "/v2/tags/{tag}", "tags_get")
async def get_tag(ask: Ask) -> Answer:
    name, there = await _find(ask)
    return Answer({"tag": (await _views(ask, [name], there))[0]})


@DIALECT.operation("DELETE", "/v2/tags/{tag}", "tags_delete")
async def delete_tag(ask: Ask) -> Answer:
    """It is taken from everything that carries it."""
    name, there = await _find(ask)
    for one in there.all:
        if name in one.tags:
            await _retag(ask, one, tuple(tag for tag in one.tags if tag != name))
    await ask.actions.aliases.describe_project(ask.caller, {f"{_FACT}{name}": ""})
    return Answer(status=204)


@DIALECT.operation("POST", "/v2/tags/{tag}/resources", "tags_assign_resources")
async def assign_resources(ask: Ask) -> Answer:
    name, _ = await _find(ask)
    for one in await _named(ask):
        await _retag(ask, one, tuple({*one.tags, name}))
    return Answer(status=204)


@DIALECT.operation("DELETE", "/v2/tags/{tag}/resources", "tags_unassign_resources")
async def unassign_resources(ask: Ask) -> Answer:
    name, _ = await _find(ask)
    await ask.actions.aliases.describe_project(ask.caller, {f"{_FACT}{name}": "declared"})
    for one in await _named(ask):
        await _retag(ask, one, tuple(tag for tag in one.tags if tag != name))
    return Answer(status=204)


async def _named(ask: Ask) -> list[Tagged]:
    found: list[Tagged] = []
    for resource in ask.read(_Resources).resources:
        if resource.resource_type == "droplet":
            found.append(await droplet(ask, resource.resource_id))
        elif resource.resource_type == "volume":
            found.append(await volume(ask, resource.resource_id))
        elif resource.resource_type == "image":
            source = await images.find(ask, resource.resource_id)
            if not isinstance(source, Snapshot):
                raise Unsupported("Only snapshots carry tags", why="Other images have none", todo="Leave it out")
            found.append(source)
        else:
            raise InvalidInput(
                f"{resource.resource_type[:40]!r} cannot be tagged",
                why="droplet, image and volume can be",
                todo="Send one of them",
                fields={"resource_type": "unknown"},
            )
    return found


async def _retag(ask: Ask, one: Tagged, tags: tuple[str, ...]) -> None:
    if isinstance(one, Instance):
        await ask.actions.instances.change(ask.caller, one.id, ChangeWish(tags=tags))
    elif isinstance(one, Volume):
        await ask.actions.volumes.change(ask.caller, one.id, tags, None)
    else:
        await ask.actions.snapshots.change(ask.caller, one.id, None, tags, None)
