"""What HTTP asks of every interface: errors as problems, methods, types, sizes, limits, pages, caching."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from insula.domain.access import Scope
from insula.frontends.api.app import make_app
from insula.frontends.api.endpoint import MAX_BODY_BYTES, allowed_methods
from insula.frontends.limits import RateLimits
from tests.api.world import OTHER_PROJECT, World

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_health_and_description_need_no_token(world: World) -> None:
    async with world.client() as client:
        assert (await client.get("/v1/health")).json()["status"] == "ok"
        assert (await client.get("/v1/openapi.json")).json()["openapi"] == "3.1.0"


@pytest.mark.parametrize("kind", ["garbage", "insula_" + "a" * 46, "expired", "revoked", "basic"])
async def test_bad_credentials(world: World, kind: str) -> None:
    token, secret = await world.new_token([Scope.ADMIN])
    if kind == "expired":
        secret = await world.expired_secret()
    elif kind == "revoked":
        assert (await world.call("GET", "/v1/instances", secret)).status_code == 200
        assert (await world.admin("DELETE", f"/v1/tokens/{token.id}")).status_code == 204
        assert (await world.admin("DELETE", f"/v1/tokens/{token.id}")).status_code == 204
    elif kind != "basic":
        secret = kind
    header = f"Basic {secret}" if kind == "basic" else f"Bearer {secret}"
    async with world.client() as client:
        answer = await client.get("/v1/instances", headers={"Authorization": header})
    assert answer.status_code == 401
    assert secret not in answer.text
    assert answer.json()["code"] in {"invalid-token", "token-expired", "no-token"}


async def test_a_problem_tells_what_why_and_what_to_do(world: World) -> None:
    answer = await world.admin("GET", "/v1/instances/nix", headers={"X-Request-Id": "mine-1"})
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == "mine-1" == problem["request_id"]
    assert problem["type"] == "urn:insula:error:unknown-instance"
    assert problem["status"] == 404 == answer.status_code
    assert all(problem[part] for part in ("title", "detail", "what", "why", "todo", "kind"))


async def test_a_harmful_request_id_is_replaced(world: World) -> None:
    answer = await world.admin("GET", "/v1/plans", headers={"X-Request-Id": "a b\tc"})
    assert answer.headers["x-request-id"].startswith("req-")


async def test_nothing_at_a_path(world: World) -> None:
    assert (await world.admin("GET", "/v1/nothing")).json()["code"] == "unknown-path"


async def test_methods(world: World) -> None:
    wrong = await world.admin("DELETE", "/v1/instances")
    assert wrong.status_code == 405
    assert wrong.json()["code"] == "method-not-allowed"
    for path, allowed in allowed_methods().items():
        async with world.client() as client:
            answer = await client.options(path.replace("{", "").replace("}", ""))
        assert answer.status_code == 204
        assert set(answer.headers["allow"].split(", ")) == set(allowed.split(", "))


async def test_head_is_get_without_the_body(world: World) -> None:
    get = await world.admin("GET", "/v1/plans")
    head = await world.admin("HEAD", "/v1/plans")
    assert head.status_code == 200
    assert head.headers["content-length"] == get.headers["content-length"]


async def test_types_of_bodies_and_answers(world: World) -> None:
    text = await world.admin("POST", "/v1/projects", content=b"name: x", headers={"Content-Type": "text/yaml"})
    assert (text.status_code, text.json()["code"]) == (415, "unsupported-media-type")
    html = await world.admin("GET", "/v1/plans", headers={"Accept": "text/html"})
    assert (html.status_code, html.json()["code"]) == (406, "not-acceptable")
    either = await world.admin("GET", "/v1/plans", headers={"Accept": "text/html, application/json;q=0.5"})
    assert either.status_code == 200


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"x"', b"\xff", b'{"name":"\\ud800"}', b"[" * 100000])
async def test_bodies_that_are_no_objects(world: World, content: bytes) -> None:
    answer = await world.admin("POST", "/v1/projects", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["code"] == "malformed-request"


async def test_a_body_too_large(world: World) -> None:
    large = b'{"name":"' + b"x" * MAX_BODY_BYTES + b'"}'
    headers = {"Content-Type": "application/json"}
    declared = await world.admin("POST", "/v1/projects", content=large, headers=headers)

    async def drip() -> object:
        for start in range(0, len(large), 65536):
            yield large[start : start + 65536]

    undeclared = await world.admin("POST", "/v1/projects", content=drip(), headers=headers)
    for answer in (declared, undeclared):
        assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "limit=1&limit=2", "nix=1", "state=flying", "state=null", "name=%00"]
)
async def test_wrong_queries_name_the_parameter(world: World, query: str) -> None:
    answer = await world.admin("GET", f"/v1/instances?{query}")
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [query.partition("=")[0]]


async def test_pages_and_filters(world: World) -> None:
    for index in range(5):
        await world.create(f"page{index}", tags=["paged"] if index % 2 else [])
    seen: list[str] = []
    path = "/v1/instances?limit=2"
    while path:
        page = (await world.admin("GET", path)).json()
        assert len(page["items"]) <= 2
        seen += [item["name"] for item in page["items"]]
        path = page["next"]
    assert len(seen) == len(set(seen))
    assert [name for name in seen if name.startswith("page")] == [f"page{index}" for index in range(5)]
    tagged = (await world.admin("GET", "/v1/instances?tag=paged")).json()["items"]
    assert [item["name"] for item in tagged] == ["page1", "page3"]
    first = await world.admin("GET", "/v1/operations?limit=1")
    assert first.headers["link"] == f'<{first.json()["next"]}>; rel="next"'
    plans = (await world.admin("GET", "/v1/plans?limit=3&after=micro-2")).json()
    assert [plan["name"] for plan in plans["items"]] == ["entry-1", "entry-2", "middle-2"]


async def test_a_kept_list_shows_every_change_at_once(world: World) -> None:
    instance = await world.create("kept")
    before = await world.admin("GET", "/v1/instances?name=kept")
    etag = {"If-None-Match": before.headers["etag"]}
    assert (await world.admin("GET", "/v1/instances?name=kept", headers=etag)).status_code == 304
    await world.admin("PATCH", f"/v1/instances/{instance.id}", json={"tags": ["new"]})
    after = await world.admin("GET", "/v1/instances?name=kept", headers=etag)
    assert after.status_code == 200
    assert after.json()["items"][0]["tags"] == ["new"]


async def test_a_kept_list_is_not_shown_to_another_project(world: World) -> None:
    await world.create("secretive")
    mine = await world.call("GET", "/v1/instances", await world.secret(Scope.INSTANCES_READ))
    theirs = await world.call("GET", "/v1/instances", await world.secret(Scope.INSTANCES_READ, project=OTHER_PROJECT))
    assert "secretive" in mine.text
    assert "secretive" not in theirs.text


@pytest.mark.parametrize("path", ["/v1/keys", "/v1/tokens", "/v1/operations", "/v1/audit"])
async def test_lists_hold_the_projects_own_things_only(world: World, path: str) -> None:
    await world.create(f"listed-{path.rpartition('/')[2]}")
    answer = await world.admin("GET", path, OTHER_PROJECT)
    assert answer.status_code == 200
    assert {item["project"] for item in answer.json()["items"]} <= {OTHER_PROJECT}


async def test_projects_of_a_request(world: World) -> None:
    admin = {"Insula-Project": OTHER_PROJECT}
    assert (await world.admin("GET", "/v1/identity", headers=admin)).json()["project"] == OTHER_PROJECT
    plain = await world.secret(Scope.INSTANCES_READ)
    refused = await world.call("GET", "/v1/instances", plain, headers=admin)
    assert (refused.status_code, refused.json()["code"]) == (404, "unknown-project")
    unknown = await world.admin("GET", "/v1/instances", headers={"Insula-Project": "nix"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown-project")
    assert (await world.admin("GET", "/v1/plans", headers={"Insula-Project": "x" * 64})).status_code == 422


async def test_a_deleted_project_is_gone_at_once(world: World) -> None:
    assert (await world.admin("POST", "/v1/projects", json={"name": "brief"})).status_code == 201
    here = {"Insula-Project": "brief"}
    made = await world.admin("POST", "/v1/tokens", json={"name": "t", "scopes": ["instances:read"]}, headers=here)
    secret = made.json()["secret"]
    assert (await world.call("GET", "/v1/instances", secret)).status_code == 200
    assert (await world.admin("DELETE", "/v1/projects/brief")).status_code == 204
    assert (await world.call("GET", "/v1/instances", secret)).status_code == 401
    assert (await world.admin("GET", "/v1/instances", headers=here)).status_code == 404


async def test_rate_limits_tell_what_is_left_and_when_to_come_back(world: World) -> None:
    tight = replace(world, app=make_app(world.actions, RateLimits(3)))
    secret = await world.secret(Scope.INSTANCES_READ)
    answers = [await tight.call("GET", "/v1/instances", secret) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers[:3]] == ["2", "1", "0"]
    assert 1 <= int(answers[3].headers["retry-after"]) <= 60
    assert answers[3].json()["retryable"]
    other = await world.secret(Scope.IMAGES_READ)
    assert (await tight.call("GET", "/v1/images", other)).status_code == 200
    tries = [(await tight.call("GET", "/v1/images", "wrong")).status_code for _ in range(11)]
    assert tries == [401] * 10 + [429]


async def test_events_resume_and_end(world: World) -> None:
    await world.create("eventful")
    operation = (await world.store.operations.list("default"))[0]
    path = f"/v1/operations/{operation.id}/events"
    whole = (await world.admin("GET", path)).text
    assert whole.startswith(": follows\n\nid: 1\n")
    assert whole.count("event: end\n") == 1
    rest = (await world.admin("GET", path, headers={"Last-Event-ID": "3"})).text
    assert "id: 3\n" not in rest
    assert "id: 4\n" in rest
    assert (await world.admin("GET", path, headers={"Last-Event-ID": "x"})).status_code == 422


async def test_two_creates_of_one_name_at_once(world: World) -> None:
    body = {"name": "twin", "image": "tiny", "plan": "micro-1"}
    answers = await asyncio.gather(*(world.admin("POST", "/v1/instances", json=body) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409, 409]
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"name-taken"}
