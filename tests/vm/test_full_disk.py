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
from insula.domain.instance import BootPhase
from insula.node.agent import Node
from insula.protocol.node import InstanceReport, InstanceSpec, Power

from .life import READY_S, Life, emulated_node, processes_of

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.timeout(600)]

_DISK_MIB = 2500  # for building the image; what the guest may have is cut to less than it writes
_DATA_MIB, _LEFT_MIB = 400, 200
# Whatever was said to be synced must be there afterwards.
_WRITE = f"""
setsid sh -c 'dd if=/dev/urandom of=/root/data bs=1M count={_DATA_MIB} conv=fsync 2> /dev/null
              md5sum < /root/data > /root/sum; sync; touch /run/done' < /dev/null > /dev/null 2>&1 &
"""


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


async def fill_up(node: Node, spec: InstanceSpec, ballast: Path) -> None:
    """Let a guest write more than there is room for beside the ballast."""
    await node.configure(spec)
    await node.make_disk(spec)
    await node.start(spec.id)
    await node.await_ready(spec.id, READY_S, no_phase)
    free_mib = shutil.disk_usage(ballast.parent).free >> 20
    await run(["fallocate", "-l", f"{free_mib - _LEFT_MIB}MiB", str(ballast)], timeout_s=10)
    await shell(node, spec, _WRITE)
    assert "disk is full" in (await until(node, Power.PAUSED)).problem


async def test_a_full_disk_stops_a_guest_and_harms_nothing(small_disk: Path) -> None:
    home, ballast = small_disk, small_disk / "ballast"
    spec = replace(Life(home, 0).spec, forwards=())
    async with await emulated_node(home) as node:
        await node.prepare_image("tiny", lambda message, percent=-1: None)
        try:
            await fill_up(node, spec, ballast)
        except BaseException:
            await node.forget(spec.id)
            raise
    async with await emulated_node(home) as node:  # the service comes back while the disk is full
        try:
            pid = (await until(node, Power.PAUSED)).pid
            ballast.unlink()
            assert (await until(node, Power.ON)).problem == ""
            await shell(node, spec, "until [ -e /run/done ]; do sleep 0.2; done; md5sum < /root/data | cmp - /root/sum")
            assert (await report(node)).pid == pid
            await node.stop(spec.id, 30)
            await node.start(spec.id)
            await node.await_ready(spec.id, READY_S, no_phase)
            assert await shell(node, spec, "md5sum < /root/data | cmp - /root/sum && echo same") == "same"
        finally:
            await node.forget(spec.id)
    assert processes_of(home) == []
