"""Backups on real QEMU, in one long story of a tiny guest that counts; runs as root and as an ordinary user.

As a program (`python -m tests.vm.backup_story HOME`) it prints its measurements as JSON. Its stores are beside HOME.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from insula.base.clock import monotonic_s
from insula.base.errors import HostFailure
from insula.domain.backup import StoreKind, StorePlace
from insula.domain.ids import Kind, new_id
from insula.domain.instance import Firmware
from insula.domain.snapshot import Consistency
from insula.domain.volume import FileSystem
from insula.node.agent import Node
from insula.protocol.backups import BackupReport, DiskSource, StoreSecret, StoreSpec
from insula.protocol.node import InstanceSpec, VolumeSpec

from .life import READY_S, processes_of
from .test_fork import (
    _CHECK_LOG,
    _COUNTER,
    booted,
    child_of,
    counts,
    file_system_is_sound,
    identity,
    no_phase,
    opened,
    parent_spec,
    shell,
)
from .test_identity import assert_nothing_shared

_MIB = 1 << 20


class BackupStory:
    """One instance, others that come from its backups, and what was measured."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.measured: dict[str, int] = {}
        self.spec = parent_spec(home)
        self.copies = [replace(child_of(self.spec, number)) for number in (1, 2)]
        self.cut = replace(child_of(self.spec, 3), nics=())
        self.uefi = [replace(child_of(self.spec, number), firmware=Firmware.UEFI) for number in (4, 5)]
        self.uefi = [replace(one, resources=replace(one.resources, memory_mib=256)) for one in self.uefi]
        self.store = StoreSpec(new_id(Kind.STORE), StorePlace(StoreKind.FOLDER, str(home / "elsewhere")))
        self.volume = VolumeSpec(new_id(Kind.VOLUME), self.spec.project, "data", 8, FileSystem.NONE)

    @property
    def everybody(self) -> tuple[InstanceSpec, ...]:
        return (self.spec, *self.copies, self.cut, *self.uefi)

    async def tell(self) -> dict[str, int]:
        """The whole story; returns bytes and times in milliseconds."""
        Path(self.store.place.path).mkdir()
        async with opened(self.home) as node:
            await node.open_store(self.store, StoreSecret())
            try:
                first = await self._made(node)
                await self._restored(node, first)
                await self._cut_off_and_gone_on_with(node)
                await self._while_off(node)
                await self._as_volume(node, first)
                await self._uefi(node)
            finally:
                for one in self.everybody:
                    await node.forget(one.id)
            await self._nothing_is_left(node)
        return self.measured

    async def _made(self, node: Node) -> str:
        await booted(node, self.spec)
        await shell(node, self.spec, "head -c 8000000 /dev/urandom > /root/data; md5sum /root/data > /root/sum")
        await shell(node, self.spec, _COUNTER)
        first, report = await self._backup(node, "first")
        assert report.consistency is Consistency.FILESYSTEM
        assert report.based_on == ""
        await counts(node, self.spec)
        await shell(node, self.spec, "head -c 2000000 /dev/urandom > /root/more; md5sum /root/more >> /root/sum")
        _, report = await self._backup(node, "second")
        assert report.based_on == first
        assert 2_000_000 < report.read_bytes < 4 * _MIB
        assert report.added_bytes < 1.1 * report.read_bytes
        await counts(node, self.spec)
        return first

    async def _restored(self, node: Node, first: str) -> None:
        latest = (await node.stored_backups(self.store.id))[-1]
        for one, backup in zip(self.copies, (first, latest.id), strict=True):
            await self._restore(node, one, backup)
            assert await shell(node, one, "hostname") == one.hostname
            said = await shell(node, one, "dmesg | grep -iE 'recover|error|orphan' || echo clean")
            assert said == "clean", said
            assert int(await shell(node, one, _CHECK_LOG)) > 0
        assert await shell(node, self.copies[0], "md5sum -c /root/sum") == "/root/data: OK"
        assert "more: OK" in await shell(node, self.copies[1], "md5sum -c /root/sum")
        assert_nothing_shared([await identity(node, one) for one in (self.spec, *self.copies)])
        await node.stop(self.copies[0].id, 30)
        await file_system_is_sound(self.home / "node" / "instances" / self.copies[0].id / "disk.qcow2", self.home)

        await self._restore(node, self.cut, first)
        assert await shell(node, self.cut, "ls /sys/class/net") == "lo"
        await node.forget(self.cut.id)

        names = {entry.name: entry for entry in await node.backup_files(self.store.id, latest.id, "/root")}
        assert names["data"].size_bytes == 8_000_000
        content = b"".join(
            [piece async for piece in await node.read_backup_file(self.store.id, latest.id, "/root/sum")]
        )
        assert content.decode().strip() == await shell(node, self.spec, "cat /root/sum")

    async def _cut_off_and_gone_on_with(self, node: Node) -> None:
        """Who reads the disk is killed; the instance changes meanwhile, and then its machine is killed as well."""
        await shell(node, self.spec, "head -c 30000000 /dev/urandom > /root/much; md5sum /root/much > /root/sum")
        backup, told = new_id(Kind.BACKUP), asyncio.Event()

        def progress(message: str, percent: int = -1) -> None:
            told.set()
            _kill("qemu-nbd", self.home)

        with pytest.raises(HostFailure):
            await node.make_backup(self.spec.id, backup, self.store.id, progress)
        assert told.is_set()
        assert backup not in [found.id for found in await node.stored_backups(self.store.id)]
        await shell(node, self.spec, "echo later > /root/sum; sync")
        _kill("qemu-system", self.home / "node" / "instances" / self.spec.id)
        report = await node.make_backup(self.spec.id, backup, self.store.id, _unseen)
        assert report.consistency is Consistency.FILESYSTEM
        assert (await node.check_store(self.store.id, True)).is_whole
        await node.forget(self.copies[1].id)
        await self._restore(node, self.copies[1], backup)
        assert await shell(node, self.copies[1], "md5sum -c /root/sum") == "/root/much: OK"
        await self._ready(node, self.spec)  # it has started again by itself
        assert await shell(node, self.spec, "cat /root/sum") == "later"

    async def _while_off(self, node: Node) -> None:
        await shell(node, self.spec, "echo off > /root/file")
        await node.stop(self.spec.id, 30)
        backup, report = await self._backup(node, "off")
        assert report.consistency is Consistency.STOPPED
        assert report.based_on != ""
        entries = await node.backup_files(self.store.id, backup, "/root/file")
        assert [(entry.name, entry.kind, entry.size_bytes) for entry in entries] == [("file", "file", 4)]

    async def _as_volume(self, node: Node, first: str) -> None:
        await node.make_volume_from_backup(self.volume, DiskSource(self.store.id, first), _unseen)
        await node.start(self.spec.id)
        await self._ready(node, self.spec)
        await node.attach_volume(self.volume.id, self.spec.id)
        script = (
            "until [ -b /dev/sda ]; do usleep 50000; done;"
            " for disk in /dev/sd?; do mount -o ro $disk /mnt && break; done; cat /mnt/root/sum; umount /mnt;"
            " cat /sys/block/sd?/size"
        )
        told = (await shell(node, self.spec, script)).splitlines()
        assert told[0].endswith("/root/data")
        assert int(told[-1]) == self.volume.size_gib << 21
        await node.detach_volume(self.volume.id, self.spec.id, False)
        await node.remove_volume(self.volume.id)

    async def _uefi(self, node: Node) -> None:
        """The firmware's variables come with it."""
        was, copy = self.uefi
        await booted(node, was)
        backup = new_id(Kind.BACKUP)
        await node.make_backup(was.id, backup, self.store.id, _unseen)
        await self._restore(node, copy, backup)
        assert (self.home / "node" / "instances" / copy.id / "nvram.qcow2").stat().st_size > 0
        assert await shell(node, copy, "ls -d /sys/firmware/efi") == "/sys/firmware/efi"

    async def _nothing_is_left(self, node: Node) -> None:
        assert list((self.home / "node" / "forks").iterdir()) == []
        assert list((self.home / "node" / "backups" / "points").iterdir()) == []
        assert processes_of(self.home / "node" / "instances") == []
        assert await node.leftovers(frozenset(), remove=False) == []

    async def _backup(self, node: Node, name: str) -> tuple[str, BackupReport]:
        backup, begun_s = new_id(Kind.BACKUP), monotonic_s()
        report = await node.make_backup(self.spec.id, backup, self.store.id, _unseen)
        self.measured |= {
            f"{name}_ms": round((monotonic_s() - begun_s) * 1000),
            f"{name}_paused_ms": report.paused_ms,
            f"{name}_read_bytes": report.read_bytes,
            f"{name}_added_bytes": report.added_bytes,
        }
        return backup, report

    async def _restore(self, node: Node, spec: InstanceSpec, backup: str) -> None:
        await node.configure(spec)
        begun_s = monotonic_s()
        await node.make_disk_from_backup(spec, self.store.id, backup, _unseen)
        self.measured["restore_ms"] = round((monotonic_s() - begun_s) * 1000)
        await node.start(spec.id)
        await self._ready(node, spec)

    async def _ready(self, node: Node, spec: InstanceSpec) -> None:
        await node.await_ready(spec.id, READY_S, no_phase)


def _unseen(message: str, percent: int = -1) -> None:
    """Progress that nobody watches."""


def _kill(program: str, below: Path) -> None:
    """Kill what runs of a program that has something below a folder among its arguments."""
    for entry in Path("/proc").iterdir():
        try:
            arguments = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:  # it has ended
            continue
        name = Path(os.fsdecode(arguments.split(b"\0", 1)[0])).name
        if name.startswith(program) and os.fsencode(below) in arguments:
            os.kill(int(entry.name), signal.SIGKILL)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(BackupStory(Path(sys.argv[1])).tell())))  # noqa: T201 - its answer
