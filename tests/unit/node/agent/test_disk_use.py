"""What is written of disks, and the warning before there is no more room."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from insula.domain.ids import Kind, new_id
from insula.node.agent import disk_watch
from insula.node.agent.disk_use import measure
from insula.node.storage.volumes import VolumeStore
from insula.protocol.node import VolumeSpec

_MIB = 1 << 20


def test_what_is_written_counts_and_not_what_is_promised(tmp_path: Path) -> None:
    store = VolumeStore(tmp_path / "volumes")
    full, empty = (VolumeSpec(new_id(Kind.VOLUME), "default", name, 9) for name in ("full", "empty"))
    for spec in (full, empty):
        store.save(spec)
        with store.disk_of(spec.id).open("wb") as disk:
            disk.truncate(64 * _MIB)
            disk.write(b"x" * (2 * _MIB if spec is full else 0))
    for place in ("instances/a", "instances/b", "forks/c"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "disk.qcow2").write_bytes(b"x" * _MIB)
    found = measure(tmp_path / "instances", [tmp_path / "forks"], store)
    assert 3 * _MIB <= found.instances_bytes < 4 * _MIB
    assert 2 * _MIB <= found.volumes[full.id] < 3 * _MIB
    assert found.volumes[empty.id] < _MIB


def test_a_node_without_anything_has_written_nothing(tmp_path: Path) -> None:
    found = measure(tmp_path / "instances", [tmp_path / "forks"], VolumeStore(tmp_path / "volumes"))
    assert (found.instances_bytes, found.volumes) == (0, {})


async def test_a_disk_that_fills_up_is_told_once_at_each_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    free_gib: Iterator[float] = iter((50, 4.9, 4.8, 0.9, 0.1, 3, 50, 51))
    seen_all = asyncio.Event()

    def usage(folder: Path) -> tuple[int, int, int]:
        left = next(free_gib, None)
        if left is None:
            loop.call_soon_threadsafe(seen_all.set)
        return (100 << 30, 0, int((left or 51) * (1 << 30)))

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(disk_watch, "disk_usage", usage)
    monkeypatch.setattr(disk_watch, "_LOOK_S", 0.001)
    with caplog.at_level(logging.INFO):
        task = asyncio.create_task(disk_watch.watch(tmp_path))
        await asyncio.wait_for(seen_all.wait(), 5)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    told = [(record.levelname, record.message.partition(";")[0]) for record in caplog.records]
    assert told == [
        ("WARNING", "the host's disk fills up"),
        ("WARNING", "the host's disk is almost full"),
        ("WARNING", "the host's disk fills up"),
        ("INFO", "the host's disk has room again"),
    ]
