"""Backups of a disk of 10 GiB, beside `qemu-img convert` (the first one) and restic (the next one, of the same bytes).

The instance is off, so that nothing but the backup works. restic gets the disk as a raw file, as people give it.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.measure import Row, at_most, spread
from insula.base import settings
from insula.domain.backup import StoreKind, StorePlace
from insula.domain.ids import Kind, new_id
from insula.domain.instance import Resources
from insula.node.agent import Node, assemble
from insula.protocol.backups import BackupReport, StoreSecret, StoreSpec
from insula.protocol.node import InstanceSpec

_DISK_GIB = 10
_DATA_BYTES = 2 << 30
_CHANGED_BYTES, _PIECE_BYTES = 100 << 20, 4 << 20
_FIRST_TIMES, _NEXT_TIMES = 3, 7
_TOOL_S = 1800


@dataclass
class Times:
    """Seconds, and for the incremental ones what came to the store."""

    first: list[float] = field(default_factory=list)
    convert: list[float] = field(default_factory=list)
    later: list[float] = field(default_factory=list)
    restic: list[float] = field(default_factory=list)
    stored: list[float] = field(default_factory=list)
    restic_stored: list[float] = field(default_factory=list)
    restore: list[float] = field(default_factory=list)


def measure() -> list[Row]:
    if shutil.which("restic") is None:
        return [Row("backups beside restic", "", note="restic is not installed: apt install restic")]
    with tempfile.TemporaryDirectory(prefix="insula-bench-", dir="/var/tmp") as name:
        top = Path(name)
        top.chmod(0o755)
        times = asyncio.run(_measured(top))
    ratio = statistics.median(times.restic) / statistics.median(times.later)
    first = statistics.median(times.first) / statistics.median(times.convert)
    changed_mib = _CHANGED_BYTES >> 20
    note = f"{_DISK_GIB} GiB, {_DATA_BYTES >> 30} GiB of them in use (/usr)"
    return [
        Row(
            "first backup / qemu-img convert -c with zstd",
            f"{first:.2f}",
            "≤ 1",
            first <= 1,
            f"{spread(times.first, 's', 1)} beside {spread(times.convert, 's', 1)}; {note}, n={_FIRST_TIMES}",
        ),
        Row(
            f"restic / next backup, {changed_mib} MiB changed",
            f"{ratio:.1f}",
            "≥ 5",
            ratio >= 5,
            f"{spread(times.restic, 's', 1)} beside {spread(times.later, 's', 2)}; {note}, n={_NEXT_TIMES}",
        ),
        at_most(
            f"bytes stored / bytes changed, {changed_mib} MiB of random bytes",
            times.stored,
            1.1,
            "",
            f"restic: {spread(times.restic_stored, '', 2)}; n={_NEXT_TIMES}",
        ),
        Row("restore of the whole disk", spread(times.restore, "s", 1), note=f"{note}, n={_FIRST_TIMES}"),
    ]


async def _measured(top: Path) -> Times:
    times = Times()
    raw, image = top / "disk.raw", top / "image.qcow2"
    await asyncio.to_thread(_make_disk, raw, image)
    async with _node(top / "home") as node:
        await node.import_image("bench", str(image), "qcow2", _ignore)
        for _ in range(_FIRST_TIMES):
            spec, store = await _instance(node), await _store(node, top)
            report, took_s = await _backup(node, spec, store)
            times.first.append(took_s)
            times.convert.append(
                await _run(
                    "qemu-img",
                    "convert",
                    "-c",
                    "-f",
                    "raw",
                    "-O",
                    "qcow2",
                    "-o",
                    "compression_type=zstd",
                    str(raw),
                    str(top / "converted.qcow2"),
                )
            )
            times.restore.append(await _restored(node, store))
        environment = {**os.environ, "RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY": str(top / "restic")}
        await _run("restic", "init", "-q", environment=environment)
        await _run("restic", "backup", "-q", str(raw), environment=environment)
        disk = top / "home" / "node" / "instances" / spec.id / "disk.qcow2"
        for turn in range(_NEXT_TIMES):
            await asyncio.to_thread(_change, raw, disk, turn)
            report, took_s = await _backup(node, spec, store)
            assert report.based_on, "all of the disk was read"
            times.later.append(took_s)
            times.stored.append(report.added_bytes / _CHANGED_BYTES)
            before = _size(top / "restic")
            times.restic.append(await _run("restic", "backup", "-q", str(raw), environment=environment))
            times.restic_stored.append((_size(top / "restic") - before) / _CHANGED_BYTES)
    return times


def _make_disk(raw: Path, image: Path) -> None:
    """A disk that begins with what is in /usr, as a raw file and as an image."""
    with raw.open("wb") as file:
        packed = subprocess.Popen(
            ["tar", "-C", "/usr", "-c", "lib", "share", "bin"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert packed.stdout is not None
        left = _DATA_BYTES
        while left and (piece := packed.stdout.read(min(left, 1 << 20))):
            file.write(piece)
            left -= len(piece)
        packed.kill()
        packed.wait()
        file.truncate(_DISK_GIB << 30)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image], check=True, timeout=_TOOL_S)


def _change(raw: Path, disk: Path, turn: int) -> None:
    """The same random bytes at the same places of both disks."""
    chance = random.Random(turn)
    places = chance.sample(range(_DATA_BYTES // _PIECE_BYTES), _CHANGED_BYTES // _PIECE_BYTES)
    piece = raw.with_name("piece")
    commands: list[str] = []
    with raw.open("r+b") as file:
        for place in places:
            data = chance.randbytes(_PIECE_BYTES)
            file.seek(place * _PIECE_BYTES)
            file.write(data)
            part = piece.with_suffix(f".{place}")
            part.write_bytes(data)
            commands += ["-c", f"write -q -s {part} {place * _PIECE_BYTES} {_PIECE_BYTES}"]
    subprocess.run(["qemu-io", "-f", "qcow2", *commands, str(disk)], check=True, timeout=_TOOL_S)
    for part in raw.parent.glob("piece.*"):
        part.unlink()
    os.sync()


@asynccontextmanager
async def _node(home: Path) -> AsyncIterator[Node]:
    home.mkdir(mode=0o755)
    environment = {"INSULA_HOME": str(home), "INSULA_DRIVER": "qemu", "INSULA_TEMPLATES": "asked"}
    async with await assemble(settings.load(environment)) as node:
        yield node


async def _instance(node: Node) -> InstanceSpec:
    """One that was never started: its disk is a layer over the image's."""
    resources = Resources(vcpus=1, memory_mib=256, disk_gib=_DISK_GIB, cpu_percent=100)
    spec = InstanceSpec(new_id(Kind.INSTANCE), "bench", "web", "web", "bench", resources)
    await node.configure(spec)
    await node.make_disk(spec, cold=True)
    return spec


async def _store(node: Node, top: Path) -> str:
    place = Path(tempfile.mkdtemp(prefix="store-", dir=top))
    spec = StoreSpec(new_id(Kind.STORE), StorePlace(StoreKind.FOLDER, str(place)))
    await node.open_store(spec, StoreSecret())
    return spec.id


async def _backup(node: Node, spec: InstanceSpec, store: str) -> tuple[BackupReport, float]:
    began = time.perf_counter()
    report = await node.make_backup(spec.id, new_id(Kind.BACKUP), store, _ignore)
    return report, time.perf_counter() - began


async def _restored(node: Node, store: str) -> float:
    (backup,) = await node.stored_backups(store)
    resources = Resources(vcpus=1, memory_mib=256, disk_gib=_DISK_GIB, cpu_percent=100)
    spec = InstanceSpec(new_id(Kind.INSTANCE), "bench", "copy", "copy", "bench", resources)
    await node.configure(spec)
    began = time.perf_counter()
    await node.make_disk_from_backup(spec, store, backup.id, _ignore)
    took_s = time.perf_counter() - began
    await node.forget(spec.id)
    return took_s


async def _run(*command: str, environment: dict[str, str] | None = None) -> float:
    """Seconds that a program takes."""
    began = time.perf_counter()
    await asyncio.to_thread(subprocess.run, command, check=True, env=environment, timeout=_TOOL_S)
    return time.perf_counter() - began


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _ignore(message: str, percent: int = -1) -> None:
    """Nobody watches."""
