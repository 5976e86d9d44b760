"""Which processes carry a network, as kept on disk."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from insula.node.network import record
from insula.node.network.inside import Order
from insula.node.network.record import NetworkRecord, ProcessEntry
from insula.node.runtime.processes import start_ticks


def ourselves() -> ProcessEntry:
    ticks = start_ticks(os.getpid())
    assert ticks is not None
    return ProcessEntry("pytest", os.getpid(), ticks)


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    assert record.load(tmp_path) is None
    saved = NetworkRecord("namespace", (ourselves(),))
    record.save(tmp_path, saved)
    assert record.load(tmp_path) == saved
    assert record.is_alive(saved)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"way": 5}', '{"way":"namespace","processes":[{"pid":"1"}]}'])
def test_a_damaged_one_counts_as_none(tmp_path: Path, text: str) -> None:
    record.record_path(tmp_path).write_text(text)
    assert record.load(tmp_path) is None


async def test_a_process_that_only_got_the_number_is_left_alone(tmp_path: Path) -> None:
    stale = ProcessEntry("slirp4netns", os.getpid(), 1)
    record.save(tmp_path, NetworkRecord("namespace", (stale,)))
    assert not record.is_alive(NetworkRecord("namespace", (stale,)))
    assert await record.first_end(tmp_path) == "slirp4netns"
    await record.end_processes(tmp_path)  # would end this very test otherwise
    assert record.load(tmp_path) is None
    await record.end_processes(tmp_path)


async def test_nothing_is_told_while_all_live(tmp_path: Path) -> None:
    record.save(tmp_path, NetworkRecord("namespace", (ourselves(),)))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await record.first_end(tmp_path)


def test_the_order_of_the_inside_program_is_read_from_words() -> None:
    order = Order(["-1", "/r", "/l", "/m", "/f", "3", "4", "sleep", "infinity", "--", "slirp4netns", "{pid}", "up0"])
    assert (order.uid, order.record, order.log, order.marker, order.reply_fd, order.ready_fd) == (
        *(-1, "/r", "/l", "/m"),
        *(3, 4),
    )
    assert order.holder == ["sleep", "infinity"]
    assert order.slirp == ["slirp4netns", "{pid}", "up0"]
