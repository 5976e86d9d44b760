"""The command line against the whole service with imaginary machines: what a user types, sees and gets back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from insula.base.settings import load
from insula.cli.entry import main
from insula.main import home
from insula.main.wiring import wire


@dataclass(frozen=True)
class Typed:
    """What one command did."""

    status: int
    out: str
    err: str


Insula = Callable[..., Awaitable[Typed]]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, short_folder: Path) -> Path:
    for name, value in {
        "INSULA_HOME": str(short_folder),
        "INSULA_LISTEN": "127.0.0.1:0",
        "INSULA_DRIVER": "fake",
        "INSULA_TEMPLATES": "asked",
        "HOME": str(short_folder),  # no key of whoever runs the tests
    }.items():
        monkeypatch.setenv(name, value)
    return short_folder


@pytest.fixture
async def insula(place: Path, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Insula]:
    settings = load()
    home.prepare(settings.home)
    stop, bound = asyncio.Event(), asyncio.Event()

    async def typed(*words: str) -> Typed:
        capsys.readouterr()
        async with asyncio.timeout(30):
            status = await asyncio.to_thread(main, words)
        printed = capsys.readouterr()
        return Typed(status, printed.out, printed.err)

    async with AsyncExitStack() as parts:
        listen = await wire(settings, parts)
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(listen(stop, lambda _address: bound.set()))
            await bound.wait()
            yield typed
            stop.set()


async def _create(insula: Insula, name: str) -> None:
    made = await insula("create", name, "--image", "tiny", "--plan", "micro-1", "--no-own-key")
    assert made.status == 0, made.err


async def test_a_day_in_the_life_of_an_instance(insula: Insula, place: Path) -> None:
    await _create(insula, "web1")
    listed = await insula("list")
    assert "web1  running" in listed.out
    ran = await insula("exec", "web1", "--", "sh", "-c", "exit 7")
    assert ran.status == 7
    (place / "note").write_text("hello")
    assert (await insula("cp", str(place / "note"), "web1:/tmp/")).status == 0
    assert (await insula("cp", "web1:/tmp/note", str(place / "back"))).status == 0
    assert (place / "back").read_text() == "hello"
    assert "login" in (await insula("console", "web1", "--log")).out
    assert (await insula("rename", "web1", "web2")).status == 0
    assert (await insula("tag", "web2", "b", "a")).out.split() == ["a", "b"]
    stopped = await insula("stop", "web2")
    assert "shut itself down" in stopped.err
    shown = json.loads((await insula("show", "web2", "--json")).out)
    assert (shown["state"], shown["tags"]) == ("stopped", ["a", "b"])
    assert (await insula("resize", "web2", "--memory", "512M")).status == 0
    assert (await insula("start", "web2")).status == 0
    assert (await insula("delete", "web2", "--yes")).status == 0
    assert (await insula("show", "web2")).status == 3


async def test_a_day_in_the_life_of_a_volume(insula: Insula) -> None:
    for name in ("web1", "web2"):
        await _create(insula, name)
    made = await insula(
        "volume", "create", "data", "--size", "2G", "--format", "ext4", "--attach", "web1", "--tag", "a"
    )
    assert (made.status, "/dev/disk/by-id/scsi-0Insula_Volume_data" in made.err) == (0, True), made.err
    for words in (("volume", "list"), ("volume", "show", "data"), ("volume", "list", "--instance", "web1")):
        shown = (await insula(*words)).out
        assert "attached" in shown
        assert "web1" in shown
        assert "0.0 MiB" in shown, "what it takes, which is next to nothing"
    assert "data (2 GiB)" in (await insula("show", "web1")).out
    grown = await insula("volume", "grow", "data", "5")
    assert "has 5 GiB" in grown.err
    assert "Nothing is mounted from it" in grown.err
    assert (await insula("volume", "limit", "data", "--mbps", "3")).status == 0
    assert "3 MB/s" in (await insula("volume", "show", "data")).out
    assert (await insula("volume", "tag", "data", "b", "--remove", "a")).out.split() == ["b"]
    assert (await insula("volume", "attach", "data", "web2", "--move")).status == 0
    assert (await insula("delete", "web2", "--yes")).status == 0
    assert "available" in (await insula("volume", "list")).out
    assert "to volumes 0.0 GiB" in (await insula("capacity")).out
    assert (await insula("volume", "protect", "data")).status == 0
    refused = await insula("volume", "delete", "data", "--yes")
    assert (refused.status, "insula volume unprotect data" in refused.err) == (4, True)
    assert (await insula("volume", "unprotect", "data")).status == 0
    assert (await insula("volume", "delete", "data", "--yes")).status == 0
    assert (await insula("volume", "show", "data")).status == 3
    for typed, says in (
        ("create Bad_Name --size 1G", "Choose a name like web1"),
        ("create data --size 1.5G", "whole number of GiB"),
        ("limit data", "--iops 500"),
        ("attach data web1", "insula volume list"),
    ):
        answer = await insula("volume", *typed.split())
        assert answer.status in {2, 3}
        assert says in answer.err


MISTAKES: Sequence[tuple[tuple[str, ...], int, str]] = (
    (("show", "nobody"), 3, "nobody"),
    (("create", "web1", "--image", "tiny", "--no-own-key"), 4, "web1"),
    (("create", "Bad_Name"), 2, "Choose a name like web1"),
    (("create", "web3", "--plan", "huge"), 2, "insula plan list"),
    (("create", "web3", "--vcpus", "0"), 2, "vcpus"),
    (("create", "web3", "--vcpus", "1000000"), 2, "vcpus"),
    (("create", "web3", "--memory", "much"), 2, "--memory 4G"),
    (("create", "web3", "--user-data", "/nonexistent"), 3, "/nonexistent"),
    (("create", "web3", "--lease", "soon"), 2, "10m"),
    (("lease", "web1", "5s"), 2, "30 days"),
    (("lease", "web1", "10"), 2, "10m"),
    (("lease", "nobody", "10m"), 3, "nobody"),
    (("delete", "web1"), 2, "--yes"),
    (("resize", "web1"), 2, "--plan"),
    (("stop", "nobody"), 3, "nobody"),
    (("operation", "show", "op_0"), 3, "op_0"),
    (("wait", "web1", "--for", "stopped", "--timeout", "0.1"), 1, "running"),
)


async def test_a_mistake_is_answered_in_words(insula: Insula) -> None:
    await _create(insula, "web1")
    for words, status, says in MISTAKES:
        answer = await insula(*words)
        assert (words, answer.status) == (words, status)
        assert answer.err.startswith("error: ")
        assert says in answer.err
        assert "Traceback" not in answer.err


async def test_a_protected_instance_stays_until_the_named_command_lifts_it(insula: Insula) -> None:
    await _create(insula, "web1")
    assert (await insula("protect", "web1")).status == 0
    refused = await insula("delete", "web1", "--yes")
    assert refused.status == 4
    assert "insula unprotect web1" in refused.err
    assert (await insula("unprotect", "web1")).status == 0
    assert (await insula("delete", "web1", "--yes")).status == 0


async def test_a_lease_is_given_shown_and_taken_off(insula: Insula) -> None:
    made = await insula("create", "web1", "--image", "tiny", "--plan", "micro-1", "--no-own-key", "--lease", "10m")
    assert made.status == 0, made.err
    assert "expires in 10 min" in (await insula("list")).out
    assert "expires in 10 min" in (await insula("show", "web1")).out
    assert "web1 expires in 2 h" in (await insula("lease", "web1", "2h")).err
    refused = await insula("protect", "web1")
    assert (refused.status, "insula lease web1 off" in refused.err) == (4, True)
    assert "stays" in (await insula("lease", "web1", "off")).err
    assert "expires" not in (await insula("list")).out
    assert json.loads((await insula("lease", "web1", "90s", "--json")).out)["lease_s"] == 90


async def test_one_of_several_that_cannot_be_deleted_does_not_keep_the_others(insula: Insula) -> None:
    for name in ("web1", "web2"):
        await _create(insula, name)
    await insula("protect", "web1")
    assert (await insula("delete", "web1", "web2", "--yes")).status == 4
    assert [each["name"] for each in json.loads((await insula("list", "--json")).out)] == ["web1"]


async def test_an_operation_can_be_left_and_watched_later(insula: Insula) -> None:
    left = await insula("create", "web1", "--image", "tiny", "--plan", "micro-1", "--no-wait", "--no-own-key")
    watched = await insula("operation", "watch", left.out.strip())
    assert watched.status == 0
    assert "succeeded" in watched.err
    assert "create_instance" in (await insula("operation", "list")).out


async def test_a_token_opens_the_service_over_tcp_until_it_is_revoked(insula: Insula) -> None:
    made = await insula("token", "create", "ci", "--scope", "instances:read")
    assert made.out.startswith("insula_")
    assert "ci" in (await insula("token", "list")).out
    assert made.out.strip() not in (await insula("token", "list", "--json")).out
    assert (await insula("token", "revoke", "ci")).status == 0
    assert "revoked" in (await insula("token", "list")).out


async def test_tools_of_others_are_pointed_here(insula: Insula, place: Path) -> None:
    shown = await insula("endpoint", "digitalocean")
    token = next(line.rpartition("=")[2] for line in shown.out.splitlines() if "ACCESS_TOKEN" in line)
    assert token.startswith("dop_v1_")
    assert shown.out.count(token) == 5
    signing = (await insula("endpoint", "lightsail")).out
    key = dict(line.removeprefix("export AWS_").split("=") for line in signing.splitlines() if "export" in line)
    assert key["ACCESS_KEY_ID"].startswith("IK")
    assert len(key["SECRET_ACCESS_KEY"]) == 40
    assert signing.count(key["SECRET_ACCESS_KEY"]) == 2
    assert key["ENDPOINT_URL_LIGHTSAIL"].startswith("http://")
    assert (await insula("ca")).status == 3, "nothing is served over HTTPS here"
    shown = await insula("endpoint", "linode")
    token = next(line.rpartition("=")[2] for line in shown.out.splitlines() if "LINODE_TOKEN" in line)
    assert shown.out.count(token) == 4
    host = next(line.rpartition("=")[2] for line in shown.out.splitlines() if "API_HOST" in line)
    assert "/" not in host
    narrow = json.loads((await insula("endpoint", "digitalocean", "--read-only", "--json")).out)
    scopes = {each["id"]: each["scopes"] for each in json.loads((await insula("token", "list", "--json")).out)}
    assert all(scope.endswith(":read") for scope in scopes[narrow["token_id"]])


async def test_what_is_listed_can_be_read_by_people_and_programs(insula: Insula) -> None:
    await _create(insula, "web1")
    for typed in ("list", "image list", "plan list", "project list", "operation list", "capacity", "audit", "version"):
        words = typed.split()
        for_people = await insula(*words)
        assert (typed, for_people.status) == (typed, 0)
        for_programs = await insula(*words, "--json")
        assert len(json.loads(for_programs.out)) > 0
        assert for_programs.out != for_people.out


async def test_key_round_trip(insula: Insula, place: Path) -> None:
    public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKWAxDW/wZ1uzNy+1nLpr6y5ewh+VG+uUTBZoLPl5HKD me"
    (place / "me.pub").write_text(public)
    assert (await insula("key", "add", "laptop", str(place / "me.pub"))).status == 0
    assert "laptop" in (await insula("key", "list")).out
    assert (await insula("key", "rename", "laptop", "desktop")).status == 0
    assert (await insula("key", "rename", "laptop", "desktop")).status == 3
    assert (await insula("key", "remove", "desktop")).status == 0
    assert (await insula("key", "remove", "laptop")).status == 3
