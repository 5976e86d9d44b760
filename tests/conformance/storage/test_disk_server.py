"""The content of disks through a jailed qemu-nbd: what changed since, what is read, what is written, what is left."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from insula.base.errors import DataCorrupt, HostFailure
from insula.base.run import Completed
from insula.node.runtime.jail import Jail
from insula.node.runtime.processes import with_argument
from insula.node.storage import disk_server, nbd_library
from insula.node.storage.confined import run_confined
from insula.node.storage.disk_server import SOCKET_FOLDER, DiskServer, end_servers, served
from insula.node.storage.disks import Disks
from insula.node.storage.extents import Change, Part

from .test_files import qemu_img, room  # noqa: F401 - a fixture

_MIB = 1 << 20
_CLUSTER = 64 << 10


@pytest.fixture
def chain(room: Path) -> tuple[Path, Path]:  # noqa: F811 - the fixture
    """A disk of 64 MiB with something in its first MiB, and a layer over it with one cluster and one of zeros."""
    base, layer = room / "base.qcow2", room / "layer.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", base, "64M")
    write(base, "write -P 1 0 1M")
    qemu_img("create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", layer)
    write(layer, f"write -P 2 {2 * _CLUSTER} {_CLUSTER}", f"write -z {4 * _CLUSTER} {_CLUSTER}")
    return base, layer


def write(disk: Path, *commands: str) -> None:
    arguments = [word for command in commands for word in ("-c", command)]
    subprocess.run(["qemu-io", "-f", "qcow2", *arguments, str(disk)], check=True, capture_output=True, timeout=60)


def changed(parts: list[Part]) -> list[tuple[int, int, Change]]:
    return [(part.begin, part.end, part.change) for part in parts if part.change is not Change.NONE]


async def test_what_the_topmost_layers_hold_is_told_apart(chain: tuple[Path, Path]) -> None:
    base, layer = chain
    async with served(layer, [base]) as disk:
        assert disk.size_bytes == 64 * _MIB
        top = list(await disk.parts(1))
        assert changed(top) == [
            (2 * _CLUSTER, 3 * _CLUSTER, Change.DATA),
            (4 * _CLUSTER, 5 * _CLUSTER, Change.ZERO),
        ]
        assert (top[0].begin, top[-1].end) == (0, disk.size_bytes)
        assert all(before.end == after.begin for before, after in itertools.pairwise(top))
        every = changed(list(await disk.parts()))
        assert every[0][0] == 0 and every[-1][1] == _MIB  # noqa: PT018 - the ends of one thing
        assert all(change is Change.DATA for _, _, change in every)


async def test_what_is_read_is_what_a_guest_reads(chain: tuple[Path, Path]) -> None:
    base, layer = chain
    async with served(layer, [base]) as disk:
        data = await disk.read(0, _MIB)
    expected = bytearray(b"\x01" * _MIB)
    expected[2 * _CLUSTER : 3 * _CLUSTER] = b"\x02" * _CLUSTER
    expected[4 * _CLUSTER : 5 * _CLUSTER] = bytes(_CLUSTER)
    assert data == expected


async def test_a_disk_is_filled_and_takes_what_was_written(room: Path) -> None:  # noqa: F811 - the fixture
    target = room / "new.qcow2"
    async with Disks().filled(target, 1 << 40) as disk:
        await disk.write(1 << 39, b"here" * 1024)
        assert not target.exists()
    assert target.stat().st_uid == os.geteuid()
    assert target.stat().st_blocks * 512 < 16 * _MIB
    async with Disks().opened(target) as disk:
        assert await disk.read(1 << 39, 4096) == b"here" * 1024
        assert (await disk.parts())[-1].end == 1 << 40
    assert sorted(path.name for path in room.iterdir()) == ["new.qcow2"]


async def test_nothing_is_left_when_filling_fails(room: Path) -> None:  # noqa: F811 - the fixture
    async def fill() -> None:
        async with Disks().filled(room / "new.qcow2", 1 << 30) as disk:
            await disk.write(0, b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fill()
    assert list(room.iterdir()) == []


async def test_a_disk_that_has_parts_elsewhere_is_not_opened(room: Path) -> None:  # noqa: F811 - the fixture
    secret, disk = room / "secret", room / "disk.qcow2"
    secret.write_bytes(b"secret" * 1000)
    qemu_img("create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", "-u", disk, "1M")
    with pytest.raises(DataCorrupt, match="no image"):
        async with Disks().opened(disk):
            pass
    with pytest.raises(HostFailure):  # the jail does not show it
        await first_of(disk)


async def test_a_server_that_is_killed_is_an_error(chain: tuple[Path, Path]) -> None:
    base, layer = chain
    async with served(layer, [base]) as disk:
        kill_server_of(layer)
        with pytest.raises(HostFailure, match="could not be read"):
            await disk.read(0, 4096)
    assert sorted(path.name for path in layer.parent.iterdir()) == ["base.qcow2", "layer.qcow2"]


async def test_a_server_that_outlives_its_jail_is_ended(
    chain: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does whose jail was killed before it had asked to die with it."""

    async def without_leash(argv: Sequence[str], jail: Jail, **limits: Any) -> Completed:
        return await run_confined(argv, replace(jail, dies_with_us=False), **limits)

    monkeypatch.setattr(disk_server, "run_confined", without_leash)
    base, layer = chain
    async with served(layer, [base]) as disk:
        for pid in with_argument(str(layer)):
            if Path(f"/proc/{pid}/comm").read_text().strip() == "bwrap":
                os.kill(pid, signal.SIGKILL)
        assert await disk.read(2 * _CLUSTER, 1) == b"\x02"
    assert await ended(lambda: with_argument(str(layer)))


async def test_servers_of_a_killed_service_are_ended(room: Path) -> None:  # noqa: F811 - the fixture
    mine, others = (room / name / "forks" / f"{SOCKET_FOLDER}12ab" / "socket" for name in ("mine", "others"))
    program = "import time; time.sleep(60)"
    programs = [subprocess.Popen([sys.executable, "-c", program, str(place)]) for place in (mine, others)]
    await end_servers(room / "mine")
    assert programs[0].wait(10) == -signal.SIGKILL
    assert programs[1].poll() is None
    programs[1].kill()
    programs[1].wait()


async def ended(processes: Callable[[], Sequence[int]]) -> bool:
    """Whether none of them is left before long."""
    for _ in range(200):
        if not processes():
            return True
        await asyncio.sleep(0.01)
    return False


async def test_it_can_be_given_up_in_the_middle(chain: tuple[Path, Path]) -> None:
    base, layer = chain

    async def read_on(disk: DiskServer) -> None:
        while True:
            await disk.read(0, _MIB)

    async def work() -> None:
        async with served(layer, [base]) as disk:
            await read_on(disk)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(path.name for path in layer.parent.iterdir()) == ["base.qcow2", "layer.qcow2"]


async def first_of(disk: Path) -> bytes:
    async with served(disk) as opened:
        return await opened.read(0, 4096)


def test_the_library_is_loaded_once() -> None:
    assert nbd_library.load() is nbd_library.load()
    assert issubclass(nbd_library.error(), Exception)


def kill_server_of(disk: Path) -> None:
    """Kill the `qemu-nbd` that serves it."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (entry / "cmdline").exists():
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
            if arguments[0].endswith(b"qemu-nbd") and os.fsencode(disk) in arguments:
                os.kill(int(entry.name), signal.SIGKILL)
