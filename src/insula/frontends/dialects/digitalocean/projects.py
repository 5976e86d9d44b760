"""Projects there group what is in one account; ours are tenants, and a token's is its only one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from insula.base.errors import InvalidInput, Unsupported
from insula.control.actions.aliases import project_record
from insula.frontends.dialects import public_ips
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.digitalocean.dialect import DIALECT, page, part, when
from insula.frontends.dialects.digitalocean.find import droplets
from insula.frontends.dialects.records import ALL, check_text, numbers, project_uuid, unknown, uuid_of


class _Resources(msgspec.Struct):
    resources: list[str] = []


_ENVIRONMENTS = ("Development", "Staging", "Production")
_LONG_AGO = datetime.fromtimestamp(0, UTC)


class _Change(msgspec.Struct):
    name: str | None = None
    description: str | None = None
    purpose: str | None = None
    environment: str | None = None


async def _view(ask: Ask) -> dict[str, Any]:
    """Ours have a name that stays; what it is called there, and the rest, is kept beside it."""
    project, record = ask.caller.project, project_record(ask.caller)
    facts = (await ask.actions.aliases.of([record]))[record].facts
    return {
        "id": project_uuid(project),
        "owner_uuid": project_uuid(project),
        "owner_id": 1,
        "name": facts.get("name", project),
        "description": facts.get("description", ""),
        "purpose": facts.get("purpose", "Other"),
        "environment": facts.get("environment", "Production"),
        "created_at": when(_LONG_AGO),
        "updated_at": when(_LONG_AGO),
        "is_default": True,
    }


async def _change(ask: Ask) -> Answer:
    _check(ask)
    wish = ask.read(_Change)
    if wish.environment is not None and wish.environment not in _ENVIRONMENTS:
        raise InvalidInput(
            "environment is not known",
            why=f"There are {', '.join(_ENVIRONMENTS)}",
            todo="Choose one of them",
            fields={"environment": "unknown"},
        )
    if wish.name is not None:
        check_text(wish.name, "name", 175)
    given = {name: value for name, value in msgspec.structs.asdict(wish).items() if value is not None}
    await ask.actions.aliases.describe_project(ask.caller, {name: value[:255] for name, value in given.items()})
    return Answer({"project": await _view(ask)})


def _check(ask: Ask) -> None:
    wanted = ask.path.get("project_id", "default")
    if wanted not in {"default", project_uuid(ask.caller.project)}:
        raise unknown("project", wanted)


@DIALECT.operation("GET", "/v2/projects", "projects_list")
async def list_projects(ask: Ask) -> Answer:
    return page(ask, "projects", part(ask, [await _view(ask)]), 1)


@DIALECT.operation("POST", "/v2/projects", "projects_create")
async def create_project(ask: Ask) -> Answer:
    raise Unsupported(
        "A token has one project only",
        why="Projects separate tenants here",
        todo="Make a project on the host with `insula project create`, and a token for it",
    )


@DIALECT.operation("GET", "/v2/projects/default", "projects_get_default")
async def get_default_project(ask: Ask) -> Answer:
    return Answer({"project": await _view(ask)})


@DIALECT.operation("GET", "/v2/projects/{project_id}", "projects_get")
async def get_project(ask: Ask) -> Answer:
    _check(ask)
    return Answer({"project": await _view(ask)})


@DIALECT.operation("PUT", "/v2/projects/default", "projects_update_default")
async def update_default_project(ask: Ask) -> Answer:
    return await _change(ask)


@DIALECT.operation("PATCH", "/v2/projects/default", "projects_patch_default")
async def patch_default_project(ask: Ask) -> Answer:
    return await _change(ask)


@DIALECT.operation("PUT", "/v2/projects/{project_id}", "projects_update")
async def update_project(ask: Ask) -> Answer:
    return await _change(ask)


@DIALECT.operation("PATCH", "/v2/projects/{project_id}", "projects_patch")
async def patch_project(ask: Ask) -> Answer:
    return await _change(ask)


async def _resources(ask: Ask) -> list[dict[str, Any]]:
    instances = await droplets(ask)
    known = await numbers(ask, [one.id for one in instances])
    found = [(f"do:droplet:{known[one.id]}", one.created_at, f"droplets/{known[one.id]}") for one in instances]
    for volume in (await ask.actions.volumes.list(ask.caller, limit=ALL, used=False)).items:
        found.append((f"do:volume:{uuid_of(volume.id)}", volume.created_at, f"volumes/{uuid_of(volume.id)}"))
    for address in await public_ips.reserved(ask):
        found.append((f"do:floatingip:{address.address}", address.created_at, f"reserved_ips/{address.address}"))
    return [
        {"urn": urn, "assigned_at": when(since), "links": {"self": f"{ask.root}/v2/{path}"}, "status": "ok"}
        for urn, since, path in found
    ]


@DIALECT.operation("GET", "/v2/projects/default/resources", "projects_list_resources_default")
async def list_default_resources(ask: Ask) -> Answer:
    found = await _resources(ask)
    return page(ask, "resources", part(ask, found), len(found))


@DIALECT.operation("GET", "/v2/projects/{project_id}/resources", "projects_list_resources")
async def list_resources(ask: Ask) -> Answer:
    _check(ask)
    return await list_default_resources(ask)


async def _assign(ask: Ask) -> Answer:
    """Everything is in this project already."""
    _check(ask)
    found = {one["urn"]: one for one in await _resources(ask)}
    wanted = [urn for urn in ask.read(_Resources).resources if urn in found]
    return Answer({"resources": [{**found[urn], "status": "already_assigned"} for urn in wanted]})


@DIALECT.operation("POST", "/v2/projects/default/resources", "projects_assign_resources_default")
async def assign_default_resources(ask: Ask) -> Answer:
    return await _assign(ask)


@DIALECT.operation("POST", "/v2/projects/{project_id}/resources", "projects_assign_resources")
async def assign_resources(ask: Ask) -> Answer:
    return await _assign(ask)
