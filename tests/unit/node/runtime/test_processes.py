from __future__ import annotations

import asyncio
import os
import socket
import time
from pathlib import Path

from insula.node.runtime.processes import Process, peer_pid, start_ticks, use_of
from insula.node.runtime.sockets import connect


def test_we_are_alive_and_told_apart_by_our_start() -> None:
    ticks = start_ticks(os.getpid())
    assert ticks is not None
    held = Process.hold(os.getpid(), ticks)
    assert held is not None
    assert held.is_alive()
    held.close()
    held.close()
    assert not held.is_alive()
    assert Process.hold(os.getpid(), ticks + 1) is None


def test_numbers_that_nobody_has_are_nobody() -> None:
    assert start_ticks(1 << 29) is None
    assert Process.hold(1 << 29) is None
    assert Process.hold(0) is None


async def test_a_socket_with_a_long_path_is_reached_and_its_owner_known(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 120)
    folder.mkdir()
    server = socket.socket(socket.AF_UNIX)
    descriptor = os.open(folder, os.O_PATH)
    server.bind(f"/proc/self/fd/{descriptor}/x.sock")
    server.listen(1)
    os.close(descriptor)
    connection = await connect(folder / "x.sock", 1)
    assert peer_pid(connection) == os.getpid()
    connection.close()
    server.close()
    await asyncio.sleep(0)


def test_what_a_process_uses_grows_with_its_work() -> None:
    before = use_of(os.getpid())
    assert before is not None
    began_s = time.process_time()
    while time.process_time() < began_s + 0.1:
        pass
    after = use_of(os.getpid())
    assert after is not None
    assert 0.05 < after[0] - before[0] < 2
    assert 1 << 20 < after[1] < 1 << 36
    assert use_of(1 << 29) is None
