"""Watching a boot: what makes it ready and what its failure tells."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from insula.base.clock import now_utc
from insula.base.errors import DiskFull, GuestFailure
from insula.domain.image import Image
from insula.node.agent.boot import BootSubject, BootWatch, console_tail, next_boot_offset
from insula.node.agent.guest import GuestAgent
from insula.node.storage.memory import MemoryImages

from .conftest import no_phase


async def _noted(watch: BootWatch) -> None:
    assert watch.ready_by
    assert not watch.is_ready, "nobody may see it before it is recorded"


async def _image(folder: Path) -> Image:
    return (await MemoryImages(folder).list())[0]


async def subject(folder: Path, ssh: tuple[str, int] | None = None) -> BootSubject:
    return BootSubject(
        name="web1",
        console=folder / "console.log",
        agent=GuestAgent(folder / "agent.sock", "web1"),
        image=replace(await _image(folder), has_agent=False),
        ssh=ssh,
        started_at_s=now_utc().timestamp(),
    )


async def test_without_an_agent_the_ssh_banner_makes_it_ready(folder: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.read(100)).startswith(b"SSH-2.0-"), "a forwarder may wait for the client's words"
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    watch = BootWatch(await subject(folder, server.sockets[0].getsockname()[:2]), _noted)
    task = asyncio.create_task(watch.run())
    assert (await watch.wait(5, no_phase)).ready_by == "ssh"
    await task
    server.close()
    await asyncio.sleep(0.01)


async def test_without_agent_and_ssh_the_login_prompt_makes_it_ready(folder: Path) -> None:
    watch = BootWatch(await subject(folder), _noted)
    task = asyncio.create_task(watch.run())
    await asyncio.sleep(0.05)
    (folder / "console.log").write_text("[    0.000000] Linux version 6\nweb1 login: ")
    report = await watch.wait(5, no_phase)
    assert report.ready_by == "console"
    assert [phase.name for phase in report.phases] == ["firmware", "kernel", "ready"]
    await task


async def test_a_panic_ends_the_wait_with_the_consoles_words(folder: Path) -> None:
    watch = BootWatch(await subject(folder), _noted)
    task = asyncio.create_task(watch.run())
    (folder / "console.log").write_text("Linux version 6\n[ 1.0] Kernel panic - not syncing: no init found\n")
    with pytest.raises(GuestFailure, match="stopped in the phase kernel") as caught:
        await watch.wait(5, no_phase)
    assert caught.value.code == "kernel-panic"
    assert "no init found" in caught.value.why
    await task


async def test_a_boot_that_cannot_be_written_down_keeps_nobody_waiting(folder: Path) -> None:
    async def disk_full(watch: BootWatch) -> None:
        raise DiskFull("No space is left")

    watch = BootWatch(await subject(folder), disk_full)
    task = asyncio.create_task(watch.run())
    (folder / "console.log").write_text("Linux version 6\nweb1 login: ")
    assert (await watch.wait(5, no_phase)).ready_by == "console"
    with pytest.raises(ExceptionGroup):
        await task


def test_the_tail_of_a_console_cannot_play_tricks_on_a_terminal(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_bytes(b"old\n" * 5000 + b"\x1b]0;title\x07\x1b[2Jnew\r\n\x00\xff")
    tail = console_tail(log)
    assert tail.endswith("]0;title[2Jnew\n\ufffd")
    assert len(tail) <= 4096
    assert console_tail(tmp_path / "none") == ""


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (b"Linux version 1\nlogin: ", b"reboot: Restarting\nLinux version 2\n", b"Linux version 2"),
        (b"SeaBIOS (1)\nLinux version 1\nlogin: ", b"Restarting\nSeaBIOS (2)\nLinux version 2\n", b"SeaBIOS (2)"),
        (b"SeaBIOS (1)\nLinux version 1\nSeaBIOS (2)\nLinux version 2\nready", b"", b"SeaBIOS (2)"),
        (b"Linux version 1\nlogin: ", b"reboot: Restarting\n", b""),
        (b"", b"SeaBIOS (v)\n", b"SeaBIOS (v)"),
    ],
)
def test_the_next_boot_begins_at_its_first_sign(tmp_path: Path, before: bytes, after: bytes, expected: bytes) -> None:
    log = tmp_path / "console.log"
    earlier = b"Linux version 0\nSeaBIOS (0)\n"
    log.write_bytes(earlier + before + after)
    offset = next_boot_offset(log, len(earlier), len(earlier + before))
    shown = log.read_bytes()[offset:]
    assert shown.startswith(expected) if expected else shown == b""
