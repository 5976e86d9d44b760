"""A host whose disk fills up under real guests: they stand still, lose nothing, and go on when there is room."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from insula.base.run import run
from insula.domain.ids import Kind, new_id
from insula.domain.instance import BootPhase
from insula.domain.volume import FileSystem
from insula.node.agent import Node
from insula.protocol.node import InstanceReport, InstanceSpec, Power, VolumeSpec
from tests.connected import alone

from .life import READY_S, Life, emulated_node, processes_of
from .volume_story import find_disk

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.timeout(600)]

_DISK_MIB = 2500  # for building the image; what the guest may have is cut to less than it writes
_DATA_MIB, _LEFT_MIB = 400, 200
# Whatever was said to be synced must be there afterwards.
_WRITE = f"""
setsid sh -c 'dd if=/dev/urandom of=/srv/data bs=1M count={_DATA_MIB} conv=fsync 2> /dev/null
              md5sum < /srv/data > /srv/sum; sync; touch /run/done' < /dev/null > /dev/null 2>&1 &
"""
_IS_SAME = "md5sum < /srv/data | cmp - /srv/sum && echo same"


@pytest.fixture
async def small_disk() -> AsyncIterator[Path]:
    """A short path on a file system of its own, which fills up soon."""
    with tempfile.TemporaryDirectory(prefix="insula-vm-", dir="/var/tmp") as name:
        disk, place = Path(name, "disk"), Path(name, "m")
        place.mkdir()
        # Not a tmpfs: what a machine writes there would count as its memory.
        await run(["mkfs.ext4", "-q", "-m", "0", str(disk), f"{_DISK_MIB}M"], timeout_s=30)
        await run(["mount", "-o", "loop", str(disk), str(place)], timeout_s=10)
        try:
            place.chmod(0o711)
            Path(name).chmod(0o711)
            yield place
        finally:
            await run(["umount", "--lazy", str(place)], timeout_s=30)


def no_phase(phase: BootPhase) -> None:
    """A boot that nobody watches."""


async def report(node: Node) -> InstanceReport:
    return next(iter(await node.observe()))


async def until(node: Node, power: Power) -> InstanceReport:
    async with asyncio.timeout(120):
        while (found := await report(node)).power is not power:
            await asyncio.sleep(0.1)
    return found


async def shell(node: Node, spec: InstanceSpec, script: str) -> str:
    done = await node.execute(spec.id, ["/bin/sh", "-c", script], b"", 120)
    assert done.exit_code == 0, (done.stdout + done.stderr).decode()
    return done.stdout.decode().strip()


async def begin(node: Node, spec: InstanceSpec, volume: VolumeSpec | None) -> None:
    """Boot it; what it writes to /srv goes to the volume if there is one."""
    await node.start(spec.id)
    await node.await_ready(spec.id, READY_S, no_phase)
    await shell(node, spec, "mkdir -p /srv")
    if volume is not None:
        await shell(node, spec, f"{find_disk(volume.id)} && mount -t ext4 $disk /srv")


async def fill_up(node: Node, spec: InstanceSpec, volume: VolumeSpec | None, ballast: Path) -> None:
    """Let a guest write more than there is room for beside the ballast."""
    await node.configure(spec)
    await node.make_disk(spec)
    if volume is not None:
        await node.make_volume(volume)
        await node.attach_volume(volume.id, spec.id)
    await begin(node, spec, volume)
    free_mib = shutil.disk_usage(ballast.parent).free >> 20
    await run(["fallocate", "-l", f"{free_mib - _LEFT_MIB}MiB", str(ballast)], timeout_s=10)
    await shell(node, spec, _WRITE)
    assert "disk is full" in (await until(node, Power.PAUSED)).problem


@pytest.mark.parametrize("volume", [None, VolumeSpec(new_id(Kind.VOLUME), "default", "data", 1, FileSystem.EXT4)])
async def test_a_full_disk_stops_a_guest_and_harms_nothing(small_disk: Path, volume: VolumeSpec | None) -> None:
    home, ballast = small_disk, small_disk / "ballast"
    spec = replace(Life(home, 0).spec, nics=(alone("52:54:00:12:34:56"),))
    async with await emulated_node(home) as node:
        await node.prepare_image("tiny", lambda message, percent=-1: None)
        try:
            await fill_up(node, spec, volume, ballast)
        except BaseException:
            await node.forget(spec.id)
            raise
    async with await emulated_node(home) as node:  # the service comes back while the disk is full
        try:
            pid = (await until(node, Power.PAUSED)).pid
            ballast.unlink()
            assert (await until(node, Power.ON)).problem == ""
            await shell(node, spec, f"until [ -e /run/done ]; do sleep 0.2; done; {_IS_SAME}")
            assert (await report(node)).pid == pid
            await node.stop(spec.id, 30)
            await begin(node, spec, volume)
            assert await shell(node, spec, _IS_SAME) == "same"
        finally:
            await node.forget(spec.id)
    assert processes_of(home) == []
