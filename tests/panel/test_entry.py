"""Coming in and going out: the first account, sessions, second factors, invitations."""

from __future__ import annotations

import base64
import re
import tempfile
import time
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from insula.domain.user import Role
from tests.api.world import OTHER_PROJECT, World, make_world
from tests.panel.browsing import ORIGIN, OWNER, PASSWORD, Browsing, key_of, new_session, session_of, text_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
OTHER_PASSWORD = "pebble violin thunder marble"


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def owned(world: World) -> None:
    """There is an owner."""
    await session_of(world)


async def test_the_first_link_makes_the_owner_once() -> None:
    with tempfile.TemporaryDirectory(prefix="insula-", dir="/tmp") as name:
        async with make_world(Path(name)) as fresh:
            await _first_owner(fresh)


async def _first_owner(world: World) -> None:
    link = await world.actions.users.first_link(ORIGIN)
    assert link is not None
    async with Browsing.of(world, signed_in=False) as stranger:
        place = link.removeprefix(ORIGIN)
        assert "owns this installation" in text_of((await stranger.client.get(place)).text)
        weak = await stranger.client.post("/panel/first", data={"key": key_of(link), "name": "ada", "password": "x"})
        assert weak.status_code == 422
        assert key_of(link) in weak.text
        form = {"key": key_of(link), "name": OWNER, "password": PASSWORD}
        made = await stranger.client.post("/panel/first", data=form)
        assert (made.status_code, made.headers["location"]) == (303, "/panel/")
        assert OWNER in await stranger.page("/")
        again = await stranger.client.post("/panel/first", data=form | {"name": "eve"})
        assert again.status_code == 404


async def test_the_sessions_cookie_is_for_this_site_and_no_script(world: World) -> None:
    async with Browsing.of(world, signed_in=False) as stranger:
        form = {"name": OWNER, "password": PASSWORD, "back": "/panel/instances?q=web"}
        answer = await stranger.client.post("/panel/sign-in", data=form)
        assert (answer.status_code, answer.headers["location"]) == (303, "/panel/instances?q=web")
        line = next(each for each in answer.headers.get_list("set-cookie") if each.startswith("insula="))
        assert "HttpOnly" in line
        assert "SameSite=Lax" in line
        assert "Secure" not in line
        stranger.client.base_url = "https://insula"
        stranger.client.headers["origin"] = "https://insula"
        answer = await stranger.client.post("/panel/sign-in", data=form)
        line = next(each for each in answer.headers.get_list("set-cookie") if each.startswith("__Host-insula="))
        assert line.endswith("; Secure")
        assert "Path=/;" in line


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example", "/v1/instances", "/panel/\\evil", ""])
async def test_nobody_is_led_to_another_site(world: World, back: str) -> None:
    async with Browsing.of(world, signed_in=False) as stranger:
        form = {"name": OWNER, "password": PASSWORD, "back": back}
        answer = await stranger.client.post("/panel/sign-in", data=form)
        assert (answer.status_code, answer.headers["location"]) == (303, "/panel/")


async def test_a_wrong_password_is_told_on_the_page(world: World) -> None:
    async with Browsing.of(world, signed_in=False) as stranger:
        answer = await stranger.client.post("/panel/sign-in", data={"name": "bob", "password": "wrong"})
        assert answer.status_code == 401
        assert "The name or the password is wrong" in text_of(answer.text)
        assert "wrong&quot;" not in answer.text
        assert 'value="wrong"' not in answer.text


async def test_no_password_crosses_a_network_in_the_clear(world: World) -> None:
    async with Browsing.of(world, signed_in=False) as stranger:
        stranger.client._transport.client = ("192.0.2.7", 1)  # type: ignore[attr-defined]  # httpx names it nowhere else
        answer = await stranger.client.post("/panel/sign-in", data={"name": OWNER, "password": PASSWORD})
        assert answer.status_code == 403
        assert "not encrypted" in text_of(answer.text)
        assert "set-cookie" not in answer.headers


async def test_a_form_of_another_site_signs_nobody_in(world: World) -> None:
    async with Browsing.of(world, signed_in=False) as stranger:
        form = {"name": OWNER, "password": PASSWORD}
        answer = await stranger.client.post("/panel/sign-in", data=form, headers={"origin": "https://evil.example"})
        assert answer.status_code == 403


async def test_an_ended_session_leads_to_the_door_and_back(world: World) -> None:
    async with Browsing.of(world, Role.MEMBER) as member:
        ended = await new_session(world, Role.MEMBER)
        member.client.cookies.set("insula", ended)
        answer = await member.post("/sign-out")
        assert answer.headers["location"] == "/panel/sign-in"
        member.client.cookies.set("insula", ended)
        answer = await member.get("/instances?q=web")
        assert answer.headers["location"] == "/panel/sign-in?back=%2Fpanel%2Finstances%3Fq%3Dweb"
        part = await member.get("/instances", **{"hx-request": "true"})
        assert (part.status_code, part.headers["hx-redirect"]) == (401, "/panel/sign-in")


async def test_an_invitation_lets_somebody_in_once(world: World) -> None:
    async with Browsing.of(world) as owner:
        bad = await owner.post("/users/new", {"name": "no spaces please", "role": "member"})
        assert bad.status_code == 422
        shown = await owner.post("/users/new", {"name": "grace", "role": "reader"})
        found = re.search(r"http://insula(/panel/invitation\?key=[^<]+)", shown.text)
        assert found is not None
        assert "invited" in await owner.page("/users/grace")
        async with Browsing.of(world, signed_in=False) as stranger:
            assert (await stranger.client.get(found[1])).status_code == 200
            form = {"key": key_of(found[1]), "password": OTHER_PASSWORD}
            answer = await stranger.client.post("/panel/invitation", data=form)
            assert answer.status_code == 303
            assert "grace" in await stranger.page("/")
            assert (await stranger.client.post("/panel/invitation", data=form)).status_code == 404
        assert (await owner.post("/users/grace/role", {"role": "member"})).status_code == 303
        assert (await owner.post("/users/grace/remove", {"typed": "nobody"})).status_code == 422
        assert (await owner.post("/users/grace/remove", {"typed": "grace"})).status_code == 303
        assert (await owner.get("/users/grace")).status_code == 404


async def test_a_second_factor_is_set_up_and_asked_for(world: World) -> None:
    async with Browsing.of(world, Role.OWNER, OTHER_PROJECT) as user:
        offered = await user.post("/account/second-factor")
        found = re.search(r'name="secret" value="([^"]+)"', offered.text)
        assert found is not None
        code = TOTP(base64.b32decode(found[1]), 6, SHA1(), 30).generate(time.time()).decode()
        wrong = {"code": "000000", "secret": found[1], "uri": "otpauth://x"}
        assert (await user.post("/account/second-factor/confirm", wrong)).status_code == 422
        shown = await user.post("/account/second-factor/confirm", wrong | {"code": code})
        assert "Recovery codes" in text_of(shown.text)
        async with Browsing.of(world, signed_in=False) as stranger:
            form = {"name": f"owner-{OTHER_PROJECT}", "password": PASSWORD}
            answer = await stranger.client.post("/panel/sign-in", data=form)
            assert answer.status_code == 401
            assert 'name="code"' in answer.text
            assert PASSWORD not in answer.text
        assert (await user.post("/account/second-factor/stop", {"password": "wrong"})).status_code == 422
        assert (await user.post("/account/second-factor/stop", {"password": PASSWORD})).status_code == 303


async def test_signing_out_everywhere_ends_all_sessions(world: World) -> None:
    async with Browsing.of(world, Role.READER, OTHER_PROJECT) as here, Browsing.of(world, signed_in=False) as there:
        there.client.cookies.set("insula", await new_session(world, Role.READER, OTHER_PROJECT))
        assert (await there.get("/account")).status_code == 200
        assert (await here.post("/account/sign-out-everywhere")).status_code == 303
        assert (await there.get("/")).status_code == 303
