"""Every endpoint, asked by users: what their role lets them, in their own project, and nothing of any other."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import pytest_asyncio

from insula.control.actions.caller import ACTIONS
from insula.control.actions.secret import looks_right
from insula.domain.access import DEFAULT_PROJECT, Identity, Scope
from insula.domain.user import SCOPES_OF, Role
from insula.frontends.api.endpoint import Endpoint
from tests.api.probes import GUARDED, OWNED, PROBES, Targets, key_of, make_targets
from tests.api.world import OTHER_PROJECT, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

Secrets = Mapping[Role, str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def targets(world: World) -> Targets:
    return await make_targets(world)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def secrets(world: World) -> Secrets:
    """Sessions of users of the default project, one of each role."""
    return {role: await world.add_user(f"rights-{role}", role) for role in Role}


@pytest.fixture(autouse=True)
def sessions_are_tokens(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session's secret is let in where tokens are, so that users can ask for everything that tokens can."""
    of_token = world.actions.access.of_token

    async def of_either(secret: str, project: str = "") -> Identity:
        if looks_right(secret):
            return await of_token(secret, project)
        return (await world.actions.sessions.of_secret(secret, project))[0]

    monkeypatch.setattr(world.actions.access, "of_token", of_either)


def holds(role: Role, entry: Endpoint) -> bool:
    return Identity("", "", SCOPES_OF[role]).may(ACTIONS[entry.action].scope)


@pytest.mark.parametrize("role", Role)
async def test_a_session_stands_for_its_user_and_role(world: World, secrets: Secrets, role: Role) -> None:
    answer = await world.call("GET", "/v1/identity", secrets[role])
    assert answer.json() == {
        "subject": f"user:rights-{role}",
        "project": DEFAULT_PROJECT,
        "scopes": sorted(SCOPES_OF[role]),
    }


@pytest.mark.parametrize("entry", GUARDED, ids=key_of)
async def test_another_project_is_unknown(world: World, targets: Targets, secrets: Secrets, entry: Endpoint) -> None:
    path, headers = targets.path(entry, OTHER_PROJECT), {"Insula-Project": OTHER_PROJECT}
    for role in Role:
        request = PROBES[key_of(entry)].request()
        answer = await world.call(entry.method, path, secrets[role], headers=headers, **request)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown-project"), f"{role}: {answer.text}"


@pytest.mark.parametrize("entry", OWNED, ids=key_of)
async def test_another_projects_thing_is_not_found(
    world: World, targets: Targets, secrets: Secrets, entry: Endpoint
) -> None:
    path = targets.path(entry, OTHER_PROJECT)
    for role in [role for role in Role if holds(role, entry)]:
        answer = await world.call(entry.method, path, secrets[role], **PROBES[key_of(entry)].request())
        assert (answer.status_code, answer.json()["kind"]) == (404, "NotFound"), f"{role}: {answer.text}"


@pytest.mark.parametrize("entry", [entry for entry in GUARDED if not holds(Role.READER, entry)], ids=key_of)
async def test_what_a_role_may_not(world: World, targets: Targets, secrets: Secrets, entry: Endpoint) -> None:
    for role in [role for role in Role if not holds(role, entry)]:
        for project in (DEFAULT_PROJECT, OTHER_PROJECT):
            path = targets.path(entry, project)
            answer = await world.call(entry.method, path, secrets[role], **PROBES[key_of(entry)].request())
            assert (answer.status_code, answer.json()["code"]) == (403, "missing-scope"), f"{role}: {answer.text}"


async def test_looking_is_what_readers_may(world: World, targets: Targets, secrets: Secrets) -> None:
    asked = [entry for entry in GUARDED if holds(Role.READER, entry)]
    assert {entry.method for entry in asked if not entry.path.endswith("-test")} == {"GET"}
    for entry in asked:
        if not entry.parameters and not entry.streams:
            answer = await world.call(entry.method, entry.path, secrets[Role.READER], **PROBES[key_of(entry)].request())
            assert answer.status_code == 200, answer.text


async def test_the_owner_of_the_installation_may_what_administrators_may(world: World) -> None:
    secret = await world.add_owner()
    answer = await world.call("GET", "/v1/identity", secret, headers={"Insula-Project": OTHER_PROJECT})
    assert (answer.json()["project"], answer.json()["scopes"]) == (OTHER_PROJECT, [Scope.ADMIN])
    assert (await world.call("GET", "/v1/projects", secret)).status_code == 200
