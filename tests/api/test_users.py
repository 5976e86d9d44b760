"""Users over HTTP: who is invited gets a link, and an administrator lets in, out, and in again."""

from __future__ import annotations

import pytest

from insula.base.errors import Unauthenticated
from insula.domain.access import DEFAULT_PROJECT, Scope
from tests.api.world import OTHER_PROJECT, USERS_PASSWORD, World

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def is_let_in(world: World, name: str) -> bool:
    try:
        await world.actions.sessions.sign_in(name, USERS_PASSWORD, client="", agent="")
    except Unauthenticated:
        return False
    return True


async def test_a_user_comes_and_goes(world: World) -> None:
    answer = await world.admin("POST", "/v1/users", json={"name": "Ada@example.org", "role": "member"})
    assert (answer.status_code, answer.headers["location"]) == (201, "/v1/users/ada@example.org")
    made = answer.json()
    assert (made["user"]["name"], made["user"]["pending"]) == ("ada@example.org", True)
    path, _, secret = made["path"].partition("?key=")
    assert path == "/panel/invitation"
    await world.actions.users.accept_invitation(secret, USERS_PASSWORD)
    assert await is_let_in(world, "ada@example.org")

    answer = await world.admin("PUT", "/v1/users/ada%40example.org/role", json={"role": "reader"})
    assert (answer.json()["user"]["name"], answer.json()["role"]) == ("ada@example.org", "reader")
    listed = (await world.admin("GET", "/v1/users")).json()["items"]
    assert [(each["user"]["name"], each["role"]) for each in listed] == [("ada@example.org", "reader")]
    assert (await world.admin("GET", "/v1/users", OTHER_PROJECT)).json()["items"] == []

    (session,) = (await world.admin("GET", "/v1/sessions", params={"user": "ada@example.org"})).json()["items"]
    assert session["user"] == "ada@example.org"
    assert (await world.admin("DELETE", f"/v1/sessions/{session['id']}")).status_code == 204
    assert (await world.admin("DELETE", f"/v1/sessions/{session['id']}")).json()["code"] == "unknown-session"

    assert (await world.admin("POST", "/v1/users/ada@example.org/disable")).json()["disabled"]
    assert not await is_let_in(world, "ada@example.org")
    assert not (await world.admin("POST", "/v1/users/ada@example.org/enable")).json()["disabled"]
    assert (await world.admin("DELETE", "/v1/users/ada@example.org")).status_code == 204
    assert not await is_let_in(world, "ada@example.org")


async def test_a_user_is_added_to_another_project_by_administrators(world: World) -> None:
    await world.add_user("two-projects", "reader", OTHER_PROJECT)
    body = {"role": "reader"}
    token = await world.secret(*(scope for scope in Scope if scope is not Scope.ADMIN))
    answer = await world.call("PUT", "/v1/users/two-projects/role", token, json=body)
    assert answer.json()["code"] == "unknown-user"
    assert (await world.admin("PUT", "/v1/users/two-projects/role", json=body)).status_code == 200
    assert (await world.admin("DELETE", "/v1/users/two-projects", DEFAULT_PROJECT)).status_code == 204
    assert await is_let_in(world, "two-projects")


@pytest.mark.parametrize("body", [{"name": "no name", "role": "reader"}, {"name": "x", "role": "king"}, {"name": "x"}])
async def test_nonsense_is_refused(world: World, body: dict[str, str]) -> None:
    answer = await world.admin("POST", "/v1/users", json=body)
    assert answer.status_code == 422, answer.text


async def test_a_forgotten_password(world: World) -> None:
    await world.add_user("forgetful", "reader")
    answer = await world.admin("POST", "/v1/users/forgetful/reset-password")
    assert answer.status_code == 201
    secret = answer.json()["path"].partition("?key=")[2]
    await world.actions.users.accept_invitation(secret, "copper-lamp-walks-home")
    assert not await is_let_in(world, "forgetful")
    assert (await world.admin("POST", "/v1/users/nobody/reset-password")).json()["code"] == "unknown-user"


async def test_the_first_link_until_there_is_an_owner(world: World) -> None:
    answer = await world.admin("POST", "/v1/first-link")
    assert answer.status_code == 201
    path, _, secret = answer.json()["path"].partition("?key=")
    assert path == "/panel/first"
    await world.actions.users.make_owner(secret, "first", USERS_PASSWORD)
    assert (await world.admin("POST", "/v1/first-link")).json()["code"] == "owner-exists"
