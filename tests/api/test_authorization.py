"""Every endpoint: nobody without a token, nobody without the scope, nobody from another project."""

from __future__ import annotations

import pytest
import pytest_asyncio

from insula.control.actions import caller
from insula.control.actions.caller import ACTIONS, Action, Caller
from insula.domain.access import Scope
from insula.frontends.api.endpoint import ENDPOINTS, PUBLIC_PATHS, Endpoint
from insula.frontends.api.guest import CONSOLE_ACTION
from tests.api.probes import (
    ALSO_NEEDED,
    GUARDED,
    OWNED,
    PROBES,
    Targets,
    check_wrong_scope,
    key_of,
    make_fresh_targets,
    make_targets,
)
from tests.api.world import OTHER_PROJECT, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Past the gate, a thing's own state or absence may still refuse.
REFUSED_LATER = {
    "wrong-state",
    "operation-over",
    "not-retryable",
    "operation-in-progress",
    "image-in-use",
    "not-published",
    "unknown-project",
    "unknown-snapshot",
    "unknown-schedule",
    "no-file-system",  # imaginary disks have none
    "no-backup-folder",
    "guest-refused",  # there is no such file
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def targets(world: World) -> Targets:
    return await make_targets(world)


def by_endpoint(entries: list[Endpoint]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("entry", entries, ids=key_of)


async def test_every_endpoint_has_a_probe() -> None:
    assert {key_of(entry) for entry in ENDPOINTS} == set(PROBES)


async def test_every_action_has_an_endpoint_and_every_endpoint_an_action() -> None:
    assert {entry.action for entry in GUARDED} | {CONSOLE_ACTION} == set(ACTIONS)
    unguarded = {entry.path for entry in ENDPOINTS if not entry.action}
    assert unguarded == PUBLIC_PATHS | {"/v1/identity"}


@by_endpoint([entry for entry in ENDPOINTS if not entry.public])
async def test_without_a_token(world: World, targets: Targets, entry: Endpoint) -> None:
    answer = await world.call(entry.method, targets.path(entry), "", **PROBES[key_of(entry)].request())
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["code"] == "no-token"


@by_endpoint(GUARDED)
async def test_with_every_scope_but_the_right_one(world: World, targets: Targets, entry: Endpoint) -> None:
    await check_wrong_scope(world, targets, entry)


@by_endpoint(OWNED)
async def test_another_projects_thing_is_not_found(world: World, targets: Targets, entry: Endpoint) -> None:
    secret = await world.secret(*(scope for scope in Scope if scope is not Scope.ADMIN))
    path = targets.path(entry, OTHER_PROJECT)
    answer = await world.call(entry.method, path, secret, **PROBES[key_of(entry)].request())
    assert answer.status_code == 404, answer.text
    assert answer.json()["kind"] == "NotFound"


@pytest.mark.usefixtures("targets")  # which some probes name beside what is fresh
@by_endpoint(GUARDED)
async def test_with_the_right_scope(world: World, entry: Endpoint) -> None:
    targets = await make_fresh_targets(world, entry)
    scopes = {ACTIONS[entry.action].scope, *ALSO_NEEDED.get(key_of(entry), ())}
    secret = await world.secret(*scopes)
    answer = await world.call(entry.method, targets.path(entry), secret, **PROBES[key_of(entry)].request())
    assert answer.status_code < 300 or answer.json()["code"] in REFUSED_LATER, answer.text


@by_endpoint(GUARDED)
async def test_taking_the_check_away_is_noticed(
    world: World, targets: Targets, entry: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Open(Action):
        def authorize(self, who: Caller) -> None:
            """Let everybody in."""

    known = ACTIONS[entry.action]
    monkeypatch.setitem(caller.ACTIONS, entry.action, Open(known.name, known.scope, known.audit))
    with pytest.raises(AssertionError):
        await check_wrong_scope(world, await make_fresh_targets(world, entry), entry)
