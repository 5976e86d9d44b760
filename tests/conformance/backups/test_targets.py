"""What every target does, whatever keeps the objects."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from insula.base.errors import Forbidden, HostFailure, NotFound, Unavailable
from insula.node.backups.folder import FolderTarget
from insula.node.backups.keys import Way, new_recovery_key
from insula.node.backups.repository import Repository
from insula.node.backups.s3 import S3Place, S3Target
from insula.node.backups.ssh import SshTarget
from insula.node.backups.target import Target
from tests.conformance.backups.targets import KINDS, s3_server, ssh_server
from tests.private_service import free_port
from tests.unit.node.backups.disks import content, disk, read_back


@pytest.fixture(params=sorted(KINDS))
async def target(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Target]:
    async with KINDS[request.param](tmp_path) as made:
        yield made


async def names(target: Target, prefix: str) -> Sequence[str]:
    return sorted([stored.name async for stored in target.list(prefix)])


async def test_objects_come_back_whole_and_in_parts(target: Target) -> None:
    data = secrets.token_bytes(300_000)
    for _ in range(2):
        await target.put("packs/ab/one", data)
    assert await target.get("packs/ab/one") == data
    assert await target.get("packs/ab/one", 1000, 70_000) == data[1000:71_000]
    assert await target.get("packs/ab/one", 299_990, 100) == data[299_990:]
    assert await target.get("packs/ab/one", 299_990) == data[299_990:]
    await target.put("packs/ab/one", b"another")
    assert await target.get("packs/ab/one") == b"another"
    await target.put("config", b"")
    assert await target.get("config") == b""


async def test_lists_tell_sizes_and_times(target: Target) -> None:
    assert await names(target, "packs/") == []
    before_s = time.time()
    for number in range(30):
        await target.put(f"packs/{number % 3:02}/{number:02}", bytes(number))
    await target.put("packs-other/x", b"x")
    found = {stored.name: stored async for stored in target.list("packs/")}
    assert sorted(found) == sorted(f"packs/{number % 3:02}/{number:02}" for number in range(30))
    assert found["packs/01/07"].size_bytes == 7
    assert abs(found["packs/01/07"].modified_at_s - before_s) < 60


async def test_what_is_gone_is_told(target: Target) -> None:
    with pytest.raises(NotFound):
        await target.get("packs/no")
    await target.put("index/a", b"a")
    for _ in range(2):
        await target.delete("index/a")
    with pytest.raises(NotFound):
        await target.get("index/a", 0, 1)


async def test_many_at_once(target: Target) -> None:
    await asyncio.gather(*(target.put(f"many/{number}", bytes([number])) for number in range(20)))
    found = await asyncio.gather(*(target.get(f"many/{number}") for number in range(20)))
    assert found == [bytes([number]) for number in range(20)]


@pytest.mark.parametrize("target", ["folder", "ssh"], indirect=True)
async def test_a_prune_removes_what_killed_writers_began(target: Target, tmp_path: Path) -> None:
    repository = await Repository.create(target, new_recovery_key(), Way.RECOVERY_KEY)
    await repository.write("b1", {"disk": disk({0: content(1)}, 100)}, {})
    folder = next(one for one in (tmp_path / "store", tmp_path / "remote") if one.is_dir())
    old, older, new = (folder / name for name in ("packs/.a.tmp", ".config.1234", "packs/.b.tmp"))
    for draft in (old, older, new):
        draft.parent.mkdir(exist_ok=True)
        draft.write_bytes(b"half")
    for draft in (old, older):
        os.utime(draft, (time.time() - 2000, time.time() - 2000))
    await repository.prune()
    assert [draft.exists() for draft in (old, older, new)] == [False, False, True]
    assert (await repository.check(read_data=True)).is_whole


async def test_a_whole_store(target: Target) -> None:
    key = new_recovery_key()
    repository = await Repository.create(target, key, Way.RECOVERY_KEY)
    chunks: dict[int, bytes | None] = {number: content(number) for number in range(40)}
    first = await repository.write("b1", {"disk": disk(chunks, 2000)}, {"name": "web1"})
    await repository.write("b2", {"disk": disk({3: content(99)}, 2000, first.disks["disk"])}, {})
    await repository.forget(["b1"])
    await repository.prune()
    again = await Repository.open(target, key)
    ((found,), damaged) = await again.backups()
    assert await read_back(again, found.disks["disk"]) == {**chunks, 3: content(99)}
    assert not damaged
    assert (await again.check(read_data=True)).is_whole


async def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    target = FolderTarget(tmp_path / "not-mounted")
    for work in (target.put("config", b"x"), target.get("config"), names(target, "packs/")):
        with pytest.raises(HostFailure, match="not there"):
            await work


async def test_an_object_store_that_refuses_or_does_not_answer(tmp_path: Path) -> None:
    async with s3_server(tmp_path) as (endpoint, access_key, _):
        wrong = S3Target(S3Place("backups", "", endpoint), access_key, "wrong")
        with pytest.raises(Forbidden):
            await wrong.put("config", b"x")
    away = S3Target(S3Place("backups", "", f"http://127.0.0.1:{free_port()}"), "a", "b")
    with pytest.raises(Unavailable):
        await away.get("config")


async def test_a_machine_that_is_another_is_not_trusted(tmp_path: Path) -> None:
    async with ssh_server(tmp_path) as (place, key):
        (tmp_path / "other").mkdir()
        async with ssh_server(tmp_path / "other") as (other, other_key):
            for wrong in (SshTarget(replace(place, host_key=other.host_key), key), SshTarget(place, other_key)):
                with pytest.raises(Forbidden):
                    await wrong.put("config", b"x")
    away = SshTarget(replace(place, port=free_port()), key)
    with pytest.raises(Unavailable):
        await away.get("config")


async def test_a_broken_connection_is_made_again(tmp_path: Path) -> None:
    async with ssh_server(tmp_path) as (place, key):
        target = SshTarget(place, key)
        await target.put("config", b"x")
        assert target._connection is not None
        target._connection.abort()
        await target._connection.wait_closed()
        assert await target.get("config") == b"x"
        await target.close()
