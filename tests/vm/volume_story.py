"""Volumes on real QEMU, in one long story of two tiny guests; runs as root and as an ordinary user.

As a program (`python -m tests.vm.volume_story HOME`) it prints its measurements as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from insula.base.clock import monotonic_s
from insula.base.errors import Conflict, Unsupported
from insula.domain.ids import Kind, new_id
from insula.domain.instance import BootPhase, MachineType, Resources
from insula.domain.volume import FileSystem
from insula.node.agent import Node
from insula.protocol.node import InstanceSpec, Power, VolumeSpec
from tests.connected import alone

from .life import READY_S, emulated_node, processes_of

_MIB = 1 << 20
T = TypeVar("T")


def tiny(name: str, machine_type: MachineType = MachineType.Q35) -> InstanceSpec:
    return InstanceSpec(
        id=new_id(Kind.INSTANCE),
        project="default",
        name=name,
        hostname=name,
        image="tiny",
        resources=Resources(vcpus=1, memory_mib=128, disk_gib=2, cpu_percent=100),
        nics=(alone(f"52:54:00:00:00:0{name[-1]}"),),
        machine_type=machine_type,
    )


def no_phase(phase: BootPhase) -> None:
    """A boot that nobody watches."""


async def boot(node: Node, spec: InstanceSpec) -> None:
    await node.configure(spec)
    await node.make_disk(spec)
    await node.start(spec.id)
    await node.await_ready(spec.id, READY_S, no_phase)


async def shell(node: Node, spec: InstanceSpec, script: str) -> str:
    done = await node.execute(spec.id, ["/bin/sh", "-c", script], b"", 60)
    assert done.exit_code == 0, (script, done.stdout, done.stderr)
    return done.stdout.decode().strip()


def find_disk(volume_id: str) -> str:
    """A line of shell that sets `disk` to the volume's device, once the guest has it."""
    return (
        f'disk=; tries=0; until [ -n "$disk" ] || [ $tries -gt 50 ]; do for d in /sys/block/sd*; do '
        f'case "$(tr -cd a-z0-9_ < $d/device/vpd_pg80 2>/dev/null)" in {volume_id}) disk=/dev/${{d##*/}};; esac; done; '
        f'tries=$((tries + 1)); [ -n "$disk" ] || sleep 0.1; done; [ -n "$disk" ]'
    )


def _occupied_mib(disk: Path) -> int:
    return disk.stat().st_blocks * 512 // _MIB


class VolumeStory:
    """One volume, first of `one` (q35), then of `two` (microvm)."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.times_ms: dict[str, int] = {}
        self.one, self.two = tiny("web1"), tiny("web2", MachineType.MICROVM)
        self.volume = VolumeSpec(new_id(Kind.VOLUME), "default", "data", 2, FileSystem.EXT4)
        self.disk = home / "node" / "volumes" / self.volume.id / "volume.qcow2"

    async def tell(self) -> dict[str, int]:
        """The whole story; returns times in milliseconds."""
        async with await emulated_node(self.home) as node:
            await node.prepare_image("tiny", lambda message, percent=-1: None)
            try:
                await asyncio.gather(boot(node, self.one), boot(node, self.two))
                await self._written(node)
                await self._in_use(node)
                await self._grown(node)
                await self._limited(node)
                await self._asleep(node)
                await self._moved(node)
                await self._discarded(node)
                await self._crashed(node)
                await self._own_disk(node)
            except BaseException:
                await self._forget(node)
                raise
        async with await emulated_node(self.home) as node:
            try:
                await self._adopted(node)
            finally:
                await self._forget(node)
            await self._left(node)
        return self.times_ms

    async def _forget(self, node: Node) -> None:
        for spec in (self.one, self.two):
            await node.forget(spec.id)

    async def _written(self, node: Node) -> None:
        await self._timed("make", node.make_volume(self.volume))
        assert _occupied_mib(self.disk) < 40, "an empty file system takes no room"
        await self._timed("attach", node.attach_volume(self.volume.id, self.one.id))
        script = f"{find_disk(self.volume.id)} && mkdir -p /mnt/data && mount -t ext4 $disk /mnt/data"
        await shell(node, self.one, script)
        await shell(node, self.one, "dd if=/dev/urandom of=/mnt/data/file bs=1M count=48 2>/dev/null; sync")
        self.digest = await shell(node, self.one, "md5sum < /mnt/data/file")
        used = (await node.disk_use()).volumes[self.volume.id]
        assert used // _MIB >= _occupied_mib(self.disk) >= 48

    async def _in_use(self, node: Node) -> None:
        with pytest.raises(Conflict) as refused:
            await node.detach_volume(self.volume.id, "", False)
        assert (refused.value.code, refused.value.why) == ("volume-in-use", "mounted /mnt/data")
        with pytest.raises(Conflict, match="attached to web1"):
            await node.attach_volume(self.volume.id, self.two.id)
        with pytest.raises(Unsupported, match="cannot be forked"):
            await node.fork(self.one.id, "fork", False)

    async def _grown(self, node: Node) -> None:
        report = await self._timed("grow", node.grow_volume(self.volume.id, 3))
        assert (report.grown, report.todo) == (("/mnt/data",), "")
        assert int(await shell(node, self.one, "df -m /mnt/data | tail -1 | awk '{print $2}'")) > 2800

    async def _limited(self, node: Node) -> None:
        write = "dd if=/dev/zero of=/mnt/data/zeros bs=1M count=6 conv=fsync 2>/dev/null"
        await node.limit_volume(replace(self.volume, disk_mbps=2))
        begun_s = monotonic_s()
        await shell(node, self.one, write)
        self.times_ms["6_mib_at_2_mbps"] = int((monotonic_s() - begun_s) * 1000)
        await node.limit_volume(replace(self.volume, disk_mbps=0))
        begun_s = monotonic_s()
        await shell(node, self.one, f"{write}; rm /mnt/data/zeros")
        self.times_ms["6_mib_unlimited"] = int((monotonic_s() - begun_s) * 1000)
        self._is_limited("6_mib_at_2_mbps", "6_mib_unlimited")

    def _is_limited(self, limited: str, unlimited: str) -> None:
        """6 MiB at 2 MB/s take 3 s, of which one second's worth may go at once; a busy host is slow without limits."""
        assert self.times_ms[limited] > 1500
        assert self.times_ms[limited] > 1.7 * self.times_ms[unlimited]

    async def _asleep(self, node: Node) -> None:
        await node.hibernate(self.one.id)
        for work in (node.detach_volume(self.volume.id, "", True), node.grow_volume(self.volume.id, 9)):
            with pytest.raises(Conflict, match="cannot change now"):
                await work
        await node.start(self.one.id)
        await node.await_ready(self.one.id, READY_S, no_phase)
        await shell(node, self.one, "echo 3 > /proc/sys/vm/drop_caches")
        assert await shell(node, self.one, "md5sum < /mnt/data/file") == self.digest

    async def _moved(self, node: Node) -> None:
        await shell(node, self.one, "umount /mnt/data")
        await self._timed("detach", node.detach_volume(self.volume.id, "", False))
        await shell(
            node,
            self.one,
            "tries=0; while [ -e /sys/block/sda ]; do sleep 0.1; tries=$((tries+1)); [ $tries -lt 50 ] || exit 1; done",
        )
        await self._timed("attach_to_microvm", node.attach_volume(self.volume.id, self.two.id))
        await shell(
            node, self.two, f"{find_disk(self.volume.id)} && mkdir -p /mnt/data && mount -t ext4 $disk /mnt/data"
        )
        assert await shell(node, self.two, "md5sum < /mnt/data/file") == self.digest
        report = await node.grow_volume(self.volume.id, 4)
        assert (report.grown, report.todo) == (("/mnt/data",), "")

    async def _discarded(self, node: Node) -> None:
        before_mib = _occupied_mib(self.disk)
        await shell(node, self.two, "cp /mnt/data/file /mnt/data/kept; rm /mnt/data/file; sync; fstrim /mnt/data")
        await shell(node, self.two, "rm /mnt/data/kept; echo kept > /mnt/data/word; sync; fstrim /mnt/data")
        self.times_ms["mib_before_discard"], self.times_ms["mib_after"] = before_mib, _occupied_mib(self.disk)
        assert _occupied_mib(self.disk) <= before_mib - 40

    async def _crashed(self, node: Node) -> None:
        report = next(each for each in await node.observe() if each.id == self.two.id)
        os.kill(report.pid, signal.SIGKILL)
        async with asyncio.timeout(READY_S):
            while True:
                now = next(each for each in await node.observe() if each.id == self.two.id)
                if now.power is Power.ON and now.pid != report.pid:
                    break
                await asyncio.sleep(0.1)
        await shell(
            node, self.two, f"{find_disk(self.volume.id)} && mkdir -p /mnt/data && mount -t ext4 $disk /mnt/data"
        )
        assert await shell(node, self.two, "cat /mnt/data/word") == "kept"

    async def _own_disk(self, node: Node) -> None:
        before = next(each for each in await node.observe() if each.id == self.one.id)
        report = await self._timed("grow_own_disk", node.grow_disk(self.one.id, 4))
        assert (report.grown, report.todo) == (("/",), "")
        assert int(await shell(node, self.one, "df -m / | tail -1 | awk '{print $2}'")) > 3600
        await self._own_disk_limited(node)
        await self._own_disk_discarded(node)
        after = next(each for each in await node.observe() if each.id == self.one.id)
        assert after == before, "it ran on"

    async def _own_disk_limited(self, node: Node) -> None:
        write = "dd if=/dev/zero of=/root/zeros bs=1M count=6 conv=fsync 2>/dev/null; rm /root/zeros"
        resources = replace(self.one.resources, disk_gib=4)
        for name, mbps in (("own_6_mib_at_2_mbps", 2), ("own_6_mib_unlimited", 0)):
            await node.limit(replace(self.one, resources=replace(resources, disk_mbps=mbps)))
            await self._timed(name, shell(node, self.one, write))
        self._is_limited("own_6_mib_at_2_mbps", "own_6_mib_unlimited")

    async def _own_disk_discarded(self, node: Node) -> None:
        own = self.home / "node" / "instances" / self.one.id / "disk.qcow2"
        await shell(node, self.one, "dd if=/dev/urandom of=/root/file bs=1M count=48 2>/dev/null; sync")
        before_mib = _occupied_mib(own)
        await shell(node, self.one, "rm /root/file; sync; fstrim /")
        self.times_ms["own_mib_before_discard"], self.times_ms["own_mib_after"] = before_mib, _occupied_mib(own)
        assert _occupied_mib(own) <= before_mib - 40

    async def _adopted(self, node: Node) -> None:
        """By another service, which finds the machine with what it has."""
        assert await shell(node, self.two, "cat /mnt/data/word") == "kept"
        await shell(node, self.two, "umount /mnt/data")
        await node.detach_volume(self.volume.id, "", False)
        await node.stop(self.one.id, 0)
        await node.attach_volume(self.volume.id, self.one.id)
        await node.grow_volume(self.volume.id, 5)
        await node.start(self.one.id)
        await node.await_ready(self.one.id, READY_S, no_phase)
        size = await shell(node, self.one, f"{find_disk(self.volume.id)} && cat /sys/block/${{disk#/dev/}}/size")
        assert int(size) == 5 << 21

    async def _left(self, node: Node) -> None:
        """Its instances are gone, and it is there."""
        assert self.disk.stat().st_uid == os.geteuid()
        assert self.disk.stat().st_mode & 0o777 == 0o600
        (left,) = await node.leftovers(frozenset(), remove=True)
        assert left.name == str(self.disk.parent)
        assert processes_of(self.home / "node" / "instances") == []

    async def _timed(self, name: str, work: Awaitable[T]) -> T:
        begun_s = monotonic_s()
        result = await work
        self.times_ms[name] = int((monotonic_s() - begun_s) * 1000)
        return result


if __name__ == "__main__":
    print(json.dumps(asyncio.run(VolumeStory(Path(sys.argv[1])).tell())))  # noqa: T201 - its answer
