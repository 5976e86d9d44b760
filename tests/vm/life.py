"""The life of a tiny instance on real QEMU, in one long story; runs as root and as an ordinary user.

As a program (`python -m tests.vm.life HOME PORT`) it prints its measurements as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Self, TypeVar

import pytest

from insula.base import settings
from insula.base.clock import monotonic_s
from insula.base.errors import Conflict
from insula.domain.ids import Kind, new_id
from insula.domain.instance import BootPhase, PortForward, Resources
from insula.node.agent import Node, assemble
from insula.protocol.node import InstanceReport, InstanceSpec, Power, StopWay
from tests.connected import NETWORK, connect, disconnect, nic
from tests.images import lend

READY_S = 120.0
T = TypeVar("T")


async def emulated_node(home: Path) -> Node:
    """A node that makes templates only when it is asked to: one that boots by itself would disturb all times."""
    own = {"INSULA_HOME": str(home), "INSULA_ACCELERATOR": "tcg", "INSULA_TEMPLATES": "asked"}
    own["INSULA_NETWORK"] = "user"  # the host's packet filter is not the tests' own
    await asyncio.to_thread(lend, home / "node" / "images", "tiny")
    return await assemble(settings.load(own))


class Life:
    """One instance and what was measured of it."""

    def __init__(self, home: Path, ssh_port: int) -> None:
        self.home = home
        self.times_ms: dict[str, int] = {}
        self.spec = InstanceSpec(
            id=new_id(Kind.INSTANCE),
            project="default",
            name="tiny1",
            hostname="tiny1",
            image="tiny",
            resources=Resources(vcpus=1, memory_mib=128, disk_gib=2, cpu_percent=100, network_mbps=100),
            nics=(nic("52:54:00:12:34:56"),),
        )
        self.forward = PortForward(guest_port=22, host_port=ssh_port)

    async def node(self) -> Node:
        return await emulated_node(self.home)

    async def live(self) -> dict[str, int]:
        """The whole story; returns times in milliseconds."""
        async with await self.node() as node:
            await node.prepare_image("tiny", lambda message, percent=-1: None)
            try:
                await self._first_boot(node)
                await self._inside(node)
                await self._network(node)
                await self._console(node)
                await self._pause(node)
                await self._hibernate(node)
                await self._reboot(node)
                await self._crash(node)
                before = await self._report(node)
            except BaseException:
                await self._forget(node)
                raise
        async with await self.node() as node:
            try:
                await self._adopted(node, before)
                await self._power_off_inside(node)
                await self._start_and_stop(node)
            finally:
                await self._forget(node)
            await self._nothing_is_left(node)
        return self.times_ms

    async def _forget(self, node: Node) -> None:
        await node.forget(self.spec.id)
        await disconnect(node, self.spec)

    async def _report(self, node: Node) -> InstanceReport:
        return next(report for report in await node.observe() if report.id == self.spec.id)

    async def _until(self, node: Node, power: Power, timeout_s: float) -> InstanceReport:
        async with asyncio.timeout(timeout_s):
            while (report := await self._report(node)).power is not power:
                await asyncio.sleep(0.02)
        return report

    async def _exec(self, node: Node, script: str) -> tuple[int, str]:
        done = await node.execute(self.spec.id, ["/bin/sh", "-c", script], b"", 60)
        return done.exit_code, (done.stdout + done.stderr).decode()

    async def _first_boot(self, node: Node) -> None:
        await node.configure(self.spec)
        await self._timed("connect", connect(node, self.spec, self.forward))
        await self._timed("make_disk", node.make_disk(self.spec))
        await self._timed("start", node.start(self.spec.id))
        seen: list[BootPhase] = []
        boot = await node.await_ready(self.spec.id, READY_S, seen.append)
        assert [phase.name for phase in boot.phases] == ["firmware", "kernel", "init", "network", "ready"]
        assert [phase.name for phase in seen] == [phase.name for phase in boot.phases]
        assert boot.ready_by == "agent"
        self.times_ms["ready"] = boot.took_ms

    async def _inside(self, node: Node) -> None:
        assert (await self._exec(node, "id -u"))[1] == "0\n"
        await self._timed("exec", node.execute(self.spec.id, ["/bin/true"], b"", 10))
        assert (await node.execute(self.spec.id, ["/bin/sh", "-c", "kill -9 $$"], b"", 10)).exit_code == 137
        done = await node.execute(self.spec.id, ["/bin/cat"], b"in and out", 10)
        assert done.stdout == b"in and out"
        content = secrets.token_bytes(1024 * 1024)
        wrote = self._timed("write_1_mib", node.write_file(self.spec.id, "/root/data", _pieces(content), 0o640))
        assert await wrote == len(content)
        back = b"".join([piece async for piece in await node.read_file(self.spec.id, "/root/data")])
        assert back == content
        assert (await self._exec(node, "ls -l /root/data | cut -c1-10; ls /root | grep -c insula"))[
            1
        ] == "-rw-r-----\n0\n"
        await node.set_hostname(self.spec.id, "renamed")
        assert (await self._exec(node, "hostname; cat /etc/hostname"))[1] == "renamed\nrenamed\n"

    async def _network(self, node: Node) -> None:
        with Listener("127.0.0.1") as private, Listener(_own_address()) as public:
            for address in (NETWORK.router4, "100.126.0.2", "100.126.0.3", "127.0.0.1"):
                await self._exec(node, f"timeout 3 nc {address} {private.port} </dev/null")
            assert await private.connections() == 0, "the guest reached the host's loopback"
            await self._exec(node, f"echo hello | timeout 3 nc {public.address} {public.port}")
            assert await public.connections() == 0, "the guest reached the host"
        reader, writer = await asyncio.open_connection("127.0.0.1", self.forward.host_port)
        writer.write(b"SSH-2.0-test\r\n")
        async with asyncio.timeout(20):
            assert await reader.readexactly(8) == b"SSH-2.0-"
        writer.close()

    async def _console(self, node: Node) -> None:
        one, two = await node.console_attach(self.spec.id), await node.console_attach(self.spec.id)
        await self._exec(node, "echo hello-console > /dev/console")
        async with asyncio.timeout(10):
            for stream in (one, two):
                shown = b""
                while b"hello-console" not in shown:
                    shown += await stream.read()
        await one.close()
        await two.close()
        assert b"hello-console" in await node.console_log(self.spec.id, 4096)

    async def _pause(self, node: Node) -> None:
        await self._exec(
            node, "(while :; do date +%s > /tmp/new; mv /tmp/new /tmp/beat; sleep 0.2; done) >/dev/null 2>&1 &"
        )
        await self._timed("pause", node.pause(self.spec.id))
        assert (await self._report(node)).power is Power.PAUSED
        await asyncio.sleep(3)
        with pytest.raises(Conflict, match="stands still"):
            await node.execute(self.spec.id, ["/bin/true"], b"", 5)
        await self._timed("resume", node.resume(self.spec.id))
        await self._beats(node)

    async def _hibernate(self, node: Node) -> None:
        before = await self._report(node)
        uptime_s = float((await self._exec(node, "cut -d. -f1 /proc/uptime"))[1])
        await self._timed("hibernate", node.hibernate(self.spec.id))
        folder = self.home / "node" / "instances" / self.spec.id
        assert (await self._report(node)).power is Power.HIBERNATED
        assert [line for line in processes_of(folder) if "qemu" in line] == []
        self.times_ms["memory_file_kib"] = (folder / "memory").stat().st_size // 1024
        await asyncio.sleep(2)
        await self._timed("wake", node.start(self.spec.id))
        boot = await node.await_ready(self.spec.id, READY_S, lambda phase: None)
        self.times_ms["wake_ready"] = boot.took_ms
        assert [phase.name for phase in boot.phases] == ["wake", "ready"]
        assert (await self._report(node)).pid != before.pid
        assert not (folder / "memory").exists()
        assert float((await self._exec(node, "cut -d. -f1 /proc/uptime"))[1]) >= uptime_s, "it booted anew"
        await self._beats(node)
        await self._network(node)

    async def _beats(self, node: Node) -> None:
        """The process from before the pause goes on, and the guest's clock is right again."""
        await asyncio.sleep(1)
        beat = int((await self._exec(node, "cat /tmp/beat"))[1])
        assert abs(beat - time.time()) < 3

    async def _reboot(self, node: Node) -> None:
        before = await self._report(node)
        report = await self._timed("reboot_to_reset", node.reboot(self.spec.id, 30))
        assert report.way is StopWay.AGENT
        boot = await node.await_ready(self.spec.id, READY_S, lambda phase: None)
        assert boot.phases[-1].name == "ready"
        assert (await self._report(node)).pid == before.pid
        await self._exec(node, "(sleep 1; reboot) >/dev/null 2>&1 &")
        await self._until(node, Power.BOOTING, 60)
        await node.await_ready(self.spec.id, READY_S, lambda phase: None)

    async def _crash(self, node: Node) -> None:
        before = await self._report(node)
        watch = node.watch()
        killed_s = monotonic_s()
        os.kill(before.pid, signal.SIGKILL)
        async with asyncio.timeout(5):
            noticed = await anext(watch)
        self.times_ms["crash_noticed"] = int((monotonic_s() - killed_s) * 1000)
        assert "crashed" in noticed.problem
        assert self.times_ms["crash_noticed"] <= 1000
        after = await self._until(node, Power.ON, READY_S)
        assert after.restarts == 1
        assert after.pid != before.pid

    async def _adopted(self, node: Node, before: InstanceReport) -> None:
        assert await self._report(node) == before
        assert (await self._exec(node, "echo still here"))[1] == "still here\n"

    async def _power_off_inside(self, node: Node) -> None:
        await self._exec(node, "(sleep 1; poweroff) >/dev/null 2>&1 &")
        assert (await self._until(node, Power.OFF, 60)).restarts == 1

    async def _start_and_stop(self, node: Node) -> None:
        await node.start(self.spec.id)
        await node.await_ready(self.spec.id, READY_S, lambda phase: None)
        assert (await self._exec(node, "cat /etc/hostname"))[1] == "renamed\n"
        report = await self._timed("stop", node.stop(self.spec.id, 30))
        assert report.way is StopWay.AGENT

    async def _nothing_is_left(self, node: Node) -> None:
        folder = self.home / "node" / "instances" / self.spec.id
        assert not folder.exists()
        assert processes_of(self.home) == []
        assert await node.leftovers(frozenset(), remove=False) == []
        with socket.socket() as port:
            port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            port.bind(("127.0.0.1", self.forward.host_port))

    async def _timed(self, name: str, work: Awaitable[T]) -> T:
        began_s = monotonic_s()
        result = await work
        self.times_ms[name] = int((monotonic_s() - began_s) * 1000)
        return result


class Listener:
    """A TCP port that counts who connects."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.create_server((address, 0))
        self._socket.setblocking(False)
        self.port = int(self._socket.getsockname()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    async def connections(self) -> int:
        """How many came until now; a last one gets half a second to arrive."""
        await asyncio.sleep(0.5)
        count = 0
        while True:
            try:
                connection, _ = self._socket.accept()
            except BlockingIOError:
                return count
            connection.close()
            count += 1


def processes_of(folder: Path) -> list[str]:
    """Command lines of living processes that name the folder in arguments or environment."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in text:
            found.append(text.replace(b"\0", b" ").decode("utf-8", "replace"))
    return found


def _own_address() -> str:
    """The host's own address on its way out; its loopback when it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 300_000):
        yield content[start : start + 300_000]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(Life(Path(sys.argv[1]), int(sys.argv[2])).live())))  # noqa: T201 - its answer
