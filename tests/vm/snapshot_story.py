"""Snapshots on real QEMU, in one long story of a tiny guest that counts; runs as root and as an ordinary user.

As a program (`python -m tests.vm.snapshot_story HOME`) it prints its measurements as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from insula.base.clock import monotonic_s
from insula.base.errors import Unsupported
from insula.domain.ids import Kind, new_id
from insula.domain.instance import Firmware
from insula.domain.snapshot import Consistency
from insula.node.agent import Node, freezing
from insula.protocol.node import InstanceSpec, Power, SnapshotReport

from .life import READY_S, processes_of
from .test_fork import (
    _CHECK_LOG,
    _COUNT,
    _COUNTER,
    booted,
    child_of,
    counts,
    file_system_is_sound,
    identity,
    no_phase,
    opened,
    parent_spec,
    power,
    shell,
)
from .test_identity import assert_nothing_shared

T = TypeVar("T")


class SnapshotStory:
    """One instance, others that go on from it, and what was measured."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.times_ms: dict[str, int] = {}
        self.spec = parent_spec(home)
        self.others = [child_of(self.spec, number) for number in (1, 2)]
        self.uefi = replace(child_of(self.spec, 3), firmware=Firmware.UEFI)
        self.uefi = replace(self.uefi, resources=replace(self.uefi.resources, memory_mib=256))
        self.disk, self.memory, self.off = (new_id(Kind.SNAPSHOT) for _ in range(3))

    async def tell(self) -> dict[str, int]:
        """The whole story; returns times in milliseconds."""
        async with opened(self.home) as node:
            try:
                await self._taken(node)
                await self._thaws_by_itself(node)
                await self._reverted(node)
                await self._launched(node)
                await self._while_off(node)
                await self._deleted(node)
                await self._uefi(node)
            finally:
                for one in (self.spec, *self.others, self.uefi):
                    await node.forget(one.id)
            await self._nothing_is_left(node)
        return self.times_ms

    async def _taken(self, node: Node) -> None:
        await booted(node, self.spec)
        await shell(node, self.spec, "echo then > /root/file")  # it has not been synced
        await shell(node, self.spec, _COUNTER)
        report = await self._take(node, self.spec, self.disk, "disk")
        assert report.consistency is Consistency.FILESYSTEM
        await counts(node, self.spec)
        assert await node.take_snapshot(self.spec.id, self.disk, False) == report
        report = await self._take(node, self.spec, self.memory, "memory", with_memory=True)
        assert report.consistency is Consistency.CRASH
        await counts(node, self.spec)
        await asyncio.sleep(11)  # what would have thawed it has been sent home
        said = await shell(node, self.spec, "dmesg | grep -i thaw || echo silence")
        assert said == "silence"

    async def _thaws_by_itself(self, node: Node) -> None:
        """A guest that was frozen by a service which is no more."""
        agent = node._keepers[self.spec.id].agent
        assert await freezing._begin(agent) is not None
        assert await freezing._freeze(agent) > 0
        await asyncio.sleep(12)
        assert await freezing._thaw(agent) == 0, "nobody had thawed it"
        assert "Thaw" in await shell(node, self.spec, "dmesg | grep -i thaw")
        await counts(node, self.spec)

    async def _reverted(self, node: Node) -> None:
        counter = await shell(node, self.spec, "cat /run/counter.pid")
        await shell(node, self.spec, "echo now > /root/file; sync")
        count = int(await shell(node, self.spec, _COUNT))
        assert await self._revert(node, self.disk) != ["wake", "ready"]
        assert await shell(node, self.spec, "cat /root/file") == "then"
        assert await shell(node, self.spec, "hostname") == self.spec.hostname
        said = await shell(node, self.spec, "dmesg | grep -iE 'recover|error|orphan' || echo clean")
        assert said == "clean", said
        assert int(await shell(node, self.spec, _CHECK_LOG)) < count

        assert await self._revert(node, self.memory, with_memory=True) == ["wake", "ready"]
        assert await shell(node, self.spec, f"cat /proc/{counter}/cmdline | tr '\\0' ' '") == "sh /run/counter"
        assert int(await shell(node, self.spec, _COUNT)) < count + 50
        await counts(node, self.spec)
        assert await shell(node, self.spec, "cat /root/file") == "then"
        assert abs(int(await shell(node, self.spec, "date +%s")) - time.time()) < 3
        await self._revert(node, self.memory)  # its disk alone
        assert await shell(node, self.spec, "[ -e /run/counter ] && echo goes on || echo booted") == "booted"

    async def _launched(self, node: Node) -> None:
        cold, warm = self.others
        phases = await self._launch(node, cold, self.disk, "launch_disk")
        assert "kernel" in phases
        phases = await self._launch(node, warm, self.memory, "launch_memory", with_memory=True)
        assert phases == ["renew", "ready"]
        await counts(node, warm)
        for one in self.others:
            assert await shell(node, one, "cat /root/file") == "then"
            assert await shell(node, one, "hostname") == one.hostname
        assert_nothing_shared([await identity(node, one) for one in (self.spec, *self.others)])

    async def _while_off(self, node: Node) -> None:
        await shell(node, self.spec, "echo off > /root/file")
        await node.stop(self.spec.id, 30)
        report = await self._take(node, self.spec, self.off, "off")
        assert report.consistency is Consistency.STOPPED
        await self._start(node, self.spec)
        await shell(node, self.spec, "echo on > /root/file; sync")
        await self._revert(node, self.off)
        assert await shell(node, self.spec, "cat /root/file") == "off"

    async def _deleted(self, node: Node) -> None:
        """In an order of its own, while disks and memory go on from them."""
        for snapshot in (self.memory, self.disk, self.off):
            await node.remove_snapshot(snapshot)
        for one, content in ((self.spec, "off"), (self.others[0], "then"), (self.others[1], "then")):
            await shell(node, one, "echo 3 > /proc/sys/vm/drop_caches")
            assert await shell(node, one, "cat /root/file") == content
            await shell(node, one, "kill $(cat /run/counter.pid) 2> /dev/null; sync")
            await node.stop(one.id, 0)
            await self._start(node, one)
            assert await shell(node, one, "cat /root/file") == content
            await node.stop(one.id, 30)
            await file_system_is_sound(self.home / "node" / "instances" / one.id / "disk.qcow2", self.home)
        assert list((self.home / "node" / "snapshots").iterdir()) == []

    async def _uefi(self, node: Node) -> None:
        """Its firmware's variables are part of it."""
        await booted(node, self.uefi)
        nvram = self.home / "node" / "instances" / self.uefi.id / "nvram.qcow2"
        snapshot = new_id(Kind.SNAPSHOT)
        report = await self._take(node, self.uefi, snapshot, "uefi")
        assert report.consistency is Consistency.FILESYSTEM
        assert await power(node, self.uefi) is Power.ON
        kept = self.home / "node" / "snapshots" / snapshot / "nvram.qcow2"
        assert kept.stat().st_size > 0
        await shell(node, self.uefi, "echo now > /root/file; sync")
        await self._revert(node, snapshot, self.uefi)
        assert await shell(node, self.uefi, "[ -e /root/file ] && echo there || echo gone") == "gone"
        assert nvram.stat().st_uid == (self.home / "node" / "instances" / self.uefi.id / "disk.qcow2").stat().st_uid
        with pytest.raises(Unsupported):
            await node.take_snapshot(self.uefi.id, new_id(Kind.SNAPSHOT), True)
        await node.remove_snapshot(snapshot)

    async def _nothing_is_left(self, node: Node) -> None:
        assert list((self.home / "node" / "forks").iterdir()) == []
        assert processes_of(self.home / "node" / "instances") == []
        assert await node.leftovers(frozenset(), remove=False) == []

    async def _take(
        self, node: Node, spec: InstanceSpec, snapshot: str, name: str, *, with_memory: bool = False
    ) -> SnapshotReport:
        report = await self._timed(f"take_{name}", node.take_snapshot(spec.id, snapshot, with_memory))
        self.times_ms[f"{name}_paused"] = report.paused_ms
        self.times_ms[f"{name}_frozen"] = report.frozen_ms
        self.times_ms[f"{name}_kib"] = report.size_bytes >> 10
        return report

    async def _revert(
        self, node: Node, snapshot: str, spec: InstanceSpec | None = None, *, with_memory: bool = False
    ) -> list[str]:
        one = spec or self.spec
        begun_s = monotonic_s()
        await node.stop(one.id, 0)
        await node.set_disk_aside(one.id)
        await node.make_disk_from_snapshot(one, snapshot, with_memory)
        phases = await self._start(node, one)
        self.times_ms[f"revert_{'memory' if with_memory else 'disk'}"] = round((monotonic_s() - begun_s) * 1000)
        await node.drop_disk_aside(one.id)
        return phases

    async def _launch(
        self, node: Node, spec: InstanceSpec, snapshot: str, name: str, *, with_memory: bool = False
    ) -> list[str]:
        await node.configure(spec)
        await self._timed(f"{name}_disk", node.make_disk_from_snapshot(spec, snapshot, with_memory))
        return await self._timed(name, self._start(node, spec))

    async def _start(self, node: Node, spec: InstanceSpec) -> list[str]:
        await node.start(spec.id)
        return [phase.name for phase in (await node.await_ready(spec.id, READY_S, no_phase)).phases]

    async def _timed(self, name: str, work: Awaitable[T]) -> T:
        begun_s = monotonic_s()
        result = await work
        self.times_ms[name] = round((monotonic_s() - begun_s) * 1000)
        return result


if __name__ == "__main__":
    print(json.dumps(asyncio.run(SnapshotStory(Path(sys.argv[1])).tell())))  # noqa: T201 - its answer
