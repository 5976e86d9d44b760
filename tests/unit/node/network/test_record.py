"""Which processes carry a network, as kept on disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from insula.node.network import record
from insula.node.network.record import NetworkRecord, ProcessEntry
from insula.node.runtime.processes import start_ticks


def ourselves() -> ProcessEntry:
    ticks = start_ticks(os.getpid())
    assert ticks is not None
    return ProcessEntry("pytest", os.getpid(), ticks)


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    assert record.load(tmp_path) is None
    saved = NetworkRecord("space", (ourselves(),))
    record.save(tmp_path, saved)
    assert record.load(tmp_path) == saved
    processes = record.Processes(tmp_path, "space")
    assert processes.lives("pytest")
    assert not processes.lives("another")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"way": 5}', '{"way":"space","processes":[{"pid":"1"}]}'])
def test_a_damaged_one_counts_as_none(tmp_path: Path, text: str) -> None:
    record.record_path(tmp_path).write_text(text)
    assert record.load(tmp_path) is None


async def test_a_later_process_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    processes = record.Processes(tmp_path, "space")
    earlier = ProcessEntry("pytest", 1, 1)
    for entry in (ProcessEntry("holder", 7, 99), earlier, ourselves()):
        await processes.note(entry)
    assert record.load(tmp_path) == NetworkRecord("space", (ProcessEntry("holder", 7, 99), ourselves()))


async def test_a_process_that_only_got_the_number_is_left_alone(tmp_path: Path) -> None:
    stale = ProcessEntry("slirp4netns", os.getpid(), 1)
    record.save(tmp_path, NetworkRecord("space", (stale,)))
    assert not record.Processes(tmp_path, "space").lives("slirp4netns")
    await record.end_processes(tmp_path)  # would end this very test otherwise
    assert record.load(tmp_path) is None
    await record.end_processes(tmp_path)
