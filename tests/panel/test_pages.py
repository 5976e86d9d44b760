"""Every page: who may see it, what it sends along, and that nothing in it is taken for markup."""

from __future__ import annotations

import json
import re
from hashlib import sha256

import pytest
import pytest_asyncio

from insula.domain.user import Role
from insula.frontends.panel.app import PAGE_MODULES
from insula.frontends.panel.assets import FOLDER
from insula.frontends.panel.visit import ROUTES, Route
from tests.api.world import OTHER_PROJECT, World
from tests.panel.browsing import Browsing, text_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
NAMES = {
    "/instances": "lighthouse",
    "/volumes": "cargo",
    "/snapshots": "lighthouse-1",
    "/backups": "kept",
    "/networks": "default",
    "/firewalls": "outer",
    "/images": "tiny",
    "/keys": "crab",
}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS someone"
GETS = [entry for entry in ROUTES if entry.method == "GET" and not entry.public and entry.path != "/live"]
POSTS = [entry for entry in ROUTES if entry.method == "POST" and not entry.public]
assert PAGE_MODULES  # they have registered their pages


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def full(world: World) -> World:
    """A project with one of each."""
    await world.create("lighthouse", tags=["web"])
    await world.create_volume("cargo")
    await world.create_snapshot("lighthouse", name="lighthouse-1")
    await world.add_store("here")
    await world.back_up("lighthouse", "here", name="kept")
    await world.add_firewall("outer")
    answer = await world.admin("POST", "/v1/keys", json={"name": "crab", "public_key": KEY})
    assert answer.status_code == 201, answer.text
    return world


def _filled(entry: Route) -> str:
    noun = "/" + entry.path.split("/")[1]
    return entry.path.replace("{name}", NAMES.get(noun, "lighthouse")).replace("{verb}", "nothing")


@pytest.mark.parametrize("entry", [*GETS, *POSTS], ids=lambda entry: f"{entry.method} {entry.path}")
async def test_a_stranger_is_led_to_where_one_signs_in(world: World, entry: Route) -> None:
    async with Browsing.of(world, signed_in=False) as stranger:
        answer = await stranger.client.request(entry.method, f"/panel{_filled(entry)}")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/panel/sign-in")


@pytest.mark.parametrize("entry", POSTS, ids=lambda entry: entry.path)
async def test_a_form_without_the_sessions_token_is_refused(browsing: Browsing, entry: Route) -> None:
    for token in ("", "AAAA", "x" * 43):
        answer = await browsing.client.post(f"/panel{_filled(entry)}", data={"token": token})
        assert answer.status_code == 403, token
        assert "stale-form" in answer.text


async def test_a_form_of_another_site_is_refused(browsing: Browsing) -> None:
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        answer = await browsing.post("/theme", {"theme": "dark"}, **headers)
        assert answer.status_code == 403


async def test_a_token_of_another_session_is_refused(world: World, browsing: Browsing) -> None:
    async with Browsing.of(world, Role.OWNER, OTHER_PROJECT) as other:
        foreign = await other.token()
    answer = await browsing.client.post("/panel/theme", data={"token": foreign, "theme": "dark"})
    assert answer.status_code == 403


def _pages() -> list[str]:
    return [_filled(entry) for entry in GETS if "{name}" not in entry.path or "/" + entry.path.split("/")[1] in NAMES]


@pytest.mark.parametrize("path", _pages())
async def test_every_page_is_there_and_keeps_the_policy(full: World, browsing: Browsing, path: str) -> None:
    answer = await browsing.get(path)
    assert answer.status_code == 200, text_of(answer.text)
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>|<style|\sstyle=|\son[a-z]+=|javascript:", answer.text)


@pytest.mark.parametrize("path", ["/instances", "/volumes", "/snapshots", "/backups", "/firewalls", "/keys"])
async def test_what_is_another_projects_is_not_found(full: World, path: str) -> None:
    async with Browsing.of(full, Role.OWNER, OTHER_PROJECT) as other:
        answer = await other.get(f"{path}/{NAMES[path]}")
        assert answer.status_code == 404
        assert NAMES[path] not in await other.page(path)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/tokens"), ("POST", "/instances/lighthouse/stop"), ("POST", "/keys/own")]
)
async def test_who_only_reads_is_told_what_is_not_allowed(full: World, method: str, path: str) -> None:
    async with Browsing.of(full, Role.READER) as reader:
        answer = await (reader.get(path) if method == "GET" else reader.post(path))
        assert answer.status_code == 403
        assert "may not" in text_of(answer.text)
        assert "API tokens" not in await reader.page("/")


async def test_names_that_look_like_markup_are_shown_as_text(full: World, browsing: Browsing) -> None:
    evil = "<script>alert(1)</script>"
    for path in (f"/instances?q={evil}", f"/find?q={evil}", f"/instances/{evil}", f"/sign-in?back={evil}"):
        answer = await browsing.get(path)
        assert "<script>alert" not in answer.text
    answer = await browsing.post("/instances/lighthouse/rename", {"name": evil})
    assert answer.status_code == 422
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text


async def test_an_error_says_what_why_what_to_do_and_the_requests_id(browsing: Browsing) -> None:
    answer = await browsing.get("/instances/nobody")
    assert answer.status_code == 404
    told = text_of(answer.text)
    assert "nobody" in told
    assert "What to do" in told
    assert answer.headers["x-request-id"] in told
    assert (await browsing.get("/no/such/page/at/all")).status_code == 404


async def test_a_browser_is_led_from_the_root_and_programs_are_not(browsing: Browsing) -> None:
    answer = await browsing.client.get("/")
    assert (answer.status_code, answer.headers["location"]) == (303, "/panel/")
    answer = await browsing.client.get("/", headers={"accept": "application/json"})
    assert answer.status_code in {401, 404}


async def test_assets_are_kept_for_ever_and_compressed(browsing: Browsing) -> None:
    html = await browsing.page("/")
    addresses = set(re.findall(r'"(/panel/assets/[^"#]+)', html))
    assert len(addresses) >= 5
    sent = len((await browsing.get("/")).content)
    for address in addresses:
        answer = await browsing.client.get(address, headers={"accept-encoding": "gzip"})
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        sent += int(answer.headers.get("content-length", 0)) or len(answer.content)
    assert (await browsing.client.get("/panel/assets/0000000000000000/panel.css")).status_code == 404
    assert (await browsing.client.get("/panel/assets/../app.py")).status_code in {303, 404}


async def test_what_is_of_others_is_whole_and_licensed() -> None:
    vendor = FOLDER / "vendor"
    listed = json.loads((vendor / "manifest.json").read_text())
    assert {entry["file"] for entry in listed} == {
        path.name for path in vendor.iterdir() if path.suffix in {".js", ".css", ".svg"}
    }
    for entry in listed:
        assert sha256((vendor / entry["file"]).read_bytes()).hexdigest() == entry["sha256"], entry["file"]
        assert (vendor / entry["licence_file"]).read_text()
        assert entry["version"]
        assert entry["source"].startswith("https://")
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 2 * 1024 * 1024
