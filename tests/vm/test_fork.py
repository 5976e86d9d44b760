"""Forks of a running `tiny` on real QEMU: children go on with memory, processes and disk of one instant."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from insula.base.clock import monotonic_s
from insula.base.run import run
from insula.domain.ids import Kind, new_id
from insula.domain.instance import BootPhase, PortForward
from insula.node.agent import Node
from insula.node.hypervisor.driver import ForkFiles
from insula.node.hypervisor.qemu import forking
from insula.node.hypervisor.qemu.live_memory import PAGE_BYTES, UnreadableError
from insula.node.hypervisor.qemu.qmp import Qmp
from insula.protocol.node import InstanceSpec, Power
from tests.connected import alone, connect, disconnect, nic
from tests.vm.test_identity import QUESTIONS, QUESTIONS_OF_TINY, assert_nothing_shared

from .life import READY_S, Life, emulated_node, processes_of

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]

# Counts in memory and in a file that it holds open; each line can be told from a torn one. Whatever runs a program more
# often keeps an emulated processor busy.
_COUNTER = """
cat > /run/counter <<'END'
exec 3>> /root/log
i=0
while :; do
    i=$((i + 1))
    echo "$i $((i * 7919)) ." >&3
    usleep 50000
done
END
setsid sh /run/counter < /dev/null > /dev/null 2>&1 &
echo $! > /run/counter.pid
until [ -s /root/log ]; do usleep 20000; done
"""
_COUNT = "tail -n 1 /root/log | cut -d ' ' -f 1"
_CHECK_LOG = """
awk '$1 != last + 1 || $2 != $1 * 7919 || $3 != "." { print "torn after", last; bad = 1; exit 1 }
     { last = $1 } END { if (!bad) print last }' /root/log
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path outside of /root and /tmp, which other users can reach."""
    with tempfile.TemporaryDirectory(prefix="insula-vm-", dir="/var/tmp") as name:
        path = Path(name)
        path.chmod(0o711)
        yield path


@asynccontextmanager
async def opened(home: Path) -> AsyncIterator[Node]:
    async with await emulated_node(home) as node:
        await node.prepare_image("tiny", lambda message, percent=-1: None)
        yield node


def no_phase(phase: BootPhase) -> None:
    """A boot that nobody watches."""


def parent_spec(home: Path) -> InstanceSpec:
    spec = replace(Life(home, 0).spec, name="web1", hostname="web1", user_data="#!/bin/sh\ndate >> /root/user-data\n")
    return replace(spec, nics=(alone("52:54:00:12:34:56"),))


def child_of(spec: InstanceSpec, number: int) -> InstanceSpec:
    name, mac = f"{spec.name}-{number}", f"52:54:00:00:01:{number:02x}"
    return replace(spec, id=new_id(Kind.INSTANCE), name=name, hostname=name, nics=(alone(mac),), user_data="")


async def start(node: Node, spec: InstanceSpec) -> None:
    await node.start(spec.id)
    await node.await_ready(spec.id, READY_S, no_phase)


async def booted(node: Node, spec: InstanceSpec) -> None:
    await node.configure(spec)
    await node.make_disk(spec)
    await start(node, spec)


@asynccontextmanager
async def counting(home: Path, *children: InstanceSpec) -> AsyncIterator[tuple[Node, InstanceSpec]]:
    """A node whose only instance counts. It and its children are gone afterwards, and nothing is left of them."""
    spec = parent_spec(home)
    async with opened(home) as node:
        try:
            await booted(node, spec)
            await shell(node, spec, _COUNTER)
            yield node, spec
        finally:
            for one in (spec, *children):
                await node.forget(one.id)
        assert processes_of(home) == []
        assert list((home / "node" / "forks").iterdir()) == []


async def child(node: Node, spec: InstanceSpec, point: str, *, keeps: bool = False) -> None:
    await node.configure(spec)
    await node.make_child(spec, point, keeps)
    await start(node, spec)


async def shell(node: Node, spec: InstanceSpec, script: str) -> str:
    done = await node.execute(spec.id, ["/bin/sh", "-c", script], b"", 120)
    assert done.exit_code == 0, (done.stdout + done.stderr).decode()
    return done.stdout.decode().strip()


async def counts(node: Node, spec: InstanceSpec) -> None:
    """Its counter goes on, and all that it wrote is whole."""
    before = int(await shell(node, spec, _COUNT))
    await asyncio.sleep(0.5)
    assert int(await shell(node, spec, _COUNT)) > before
    assert int(await shell(node, spec, _CHECK_LOG)) > before


async def identity(node: Node, spec: InstanceSpec) -> dict[str, str]:
    return {name: await shell(node, spec, script) for name, script in (QUESTIONS | QUESTIONS_OF_TINY).items()}


async def power(node: Node, spec: InstanceSpec) -> Power:
    return next(report.power for report in await node.observe() if report.id == spec.id)


async def file_system_is_sound(disk: Path, scratch: Path) -> None:
    """Check the file system of an instance that is off, without changing its disk."""
    raw = scratch / "raw"
    await run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(disk), str(raw)], timeout_s=120)
    try:
        await run(["e2fsck", "-f", "-n", str(raw)], timeout_s=120)
    finally:
        raw.unlink()


async def test_children_go_on_from_one_instant(home: Path) -> None:
    children = [child_of(parent_spec(home), number) for number in (1, 2, 3)]
    times: dict[str, float] = {}
    async with counting(home, *children) as (node, spec):
        await asyncio.sleep(1)
        counter = await shell(node, spec, "cat /run/counter.pid")
        begun_s = monotonic_s()
        times["paused_ms"] = await node.fork(spec.id, "op_1", False)
        times["point_s"] = monotonic_s() - begun_s
        await child(node, children[0], "op_1")
        await shell(node, children[0], "true")
        times["first_command_s"] = monotonic_s() - begun_s
        await child(node, children[1], "op_1")
        await node.drop_fork("op_1")
        # A fork of a fork.
        await node.fork(children[0].id, "op_2", False)
        await child(node, children[2], "op_2")
        await node.drop_fork("op_2")
        everybody = [spec, *children]
        for one in everybody:
            assert await shell(node, one, f"cat /proc/{counter}/cmdline | tr '\\0' ' '") == "sh /run/counter"
            assert len((await shell(node, one, "cat /root/user-data")).splitlines()) == 1
            await counts(node, one)
        assert_nothing_shared([await identity(node, one) for one in everybody])
        assert times["paused_ms"] < 1000
        print(json.dumps(times))  # noqa: T201 - the measurements, seen with -s
        await survive(node, home, [spec, children[0], children[2]])  # the second is made as the first is


async def survive(node: Node, home: Path, everybody: list[InstanceSpec]) -> None:
    """Each goes on alone: switched off hard, looked through, grown, and booted from its disk."""
    for one in everybody:
        # What is written after the last sync may be torn by a power cut, fork or not.
        await shell(node, one, "kill $(cat /run/counter.pid); sync")
        await node.stop(one.id, 0)
        await node.grow_disk(one.id, 3)
        await start(node, one)
        assert await shell(node, one, "hostname") == one.hostname
        await shell(node, one, _CHECK_LOG)
        await node.stop(one.id, 30)
        await file_system_is_sound(home / "node" / "instances" / one.id / "disk.qcow2", home)


async def test_an_instance_is_forked_as_often_as_one_likes(home: Path) -> None:
    twin = child_of(parent_spec(home), 1)
    async with counting(home, twin) as (node, spec):
        for number in range(10):
            await node.fork(spec.id, f"op_{number}", False)
            if number == 8:  # the first one after what was before has been merged
                await child(node, twin, "op_8")
            await node.drop_fork(f"op_{number}")
            await counts(node, spec)
        assert len(list((home / "node" / "forks").iterdir())) == 2
        await counts(node, twin)
        await survive(node, home, [spec, twin])


async def test_connections_and_uptime_of_the_parent_survive(home: Path, unused_tcp_port: int) -> None:
    spec = replace(parent_spec(home), nics=(nic("52:54:00:12:34:56"),))
    async with opened(home) as node:
        try:
            await connect(node, spec, PortForward(guest_port=7777, host_port=unused_tcp_port))
            await booted(node, spec)
            await shell(node, spec, "setsid nc -l -p 7777 -e cat < /dev/null > /dev/null 2>&1 & sleep 0.5")
            reader, writer = await asyncio.open_connection("127.0.0.1", unused_tcp_port)
            writer.write(b"before\n")
            assert await asyncio.wait_for(reader.readline(), 10) == b"before\n"
            up_s = float((await shell(node, spec, "cat /proc/uptime")).split()[0])
            for number in range(3):
                await node.fork(spec.id, f"op_{number}", False)
                writer.write(b"after\n")
                assert await asyncio.wait_for(reader.readline(), 10) == b"after\n"
                await node.drop_fork(f"op_{number}")
            assert float((await shell(node, spec, "cat /proc/uptime")).split()[0]) > up_s
            assert abs(float(await shell(node, spec, "date +%s")) - time.time()) < 3
            writer.close()
        finally:
            await node.forget(spec.id)
            await disconnect(node, spec)


async def test_a_child_that_keeps_its_identity_has_no_network(home: Path) -> None:
    one = child_of(parent_spec(home), 1)
    async with counting(home, one) as (node, spec):
        machine_id = await shell(node, spec, "cat /etc/machine-id")
        begun_s = monotonic_s()
        await node.fork(spec.id, "op_1", True)
        await child(node, one, "op_1", keeps=True)
        assert await shell(node, one, "cat /etc/machine-id") == machine_id
        print("first command after", monotonic_s() - begun_s, "s")  # noqa: T201 - seen with -s
        await counts(node, one)
        assert await shell(node, one, "cat /sys/class/net/eth0/carrier") == "0"
        await node.drop_fork("op_1")
        await node.hibernate(one.id)
        await start(node, one)
        assert await shell(node, one, "cat /sys/class/net/eth0/carrier") == "0"
        await node.stop(one.id, 30)
        await start(node, one)
        assert await shell(node, one, "[ -e /sys/class/net/eth0 ] || echo none") == "none"
        assert await shell(node, spec, "cat /sys/class/net/eth0/carrier") == "1"


async def test_a_paused_parent_is_forked_and_stays_paused(home: Path) -> None:
    one = child_of(parent_spec(home), 1)
    async with counting(home, one) as (node, spec):
        await node.pause(spec.id)
        assert await node.fork(spec.id, "op_1", False) == 0
        await child(node, one, "op_1")
        await node.drop_fork("op_1")
        assert await power(node, spec) is Power.PAUSED
        await counts(node, one)
        await node.resume(spec.id)
        await counts(node, spec)
        await node.hibernate(spec.id)
        await start(node, spec)
        await counts(node, spec)


_REWRITE = """
dd if=/dev/urandom of=/run/new bs=64k count=128 2> /dev/null
for number in 1 2; do
    setsid sh -c "while :; do dd if=/run/new of=/run/rewritten$number bs=64k conv=notrunc; usleep 20000; done" \\
        < /dev/null > /dev/null 2>&1 &
done
sleep 1
"""


@pytest.fixture
def differing(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """For each fork, how many pages of what was written down are not what the machine has in memory."""
    counted: list[int] = []
    asked: dict[str, int] = {}
    fork, complete = forking.fork, forking._await_completion

    async def remember(qmp: Qmp, news: forking.News, files: ForkFiles, pid: int) -> int:
        asked.update(pid=pid, copy=files.memory)
        return await fork(qmp, news, files, pid)

    async def compare(qmp: Qmp, news: forking.News, splitting: forking._Splitting) -> None:
        await complete(qmp, news, splitting)
        await splitting.task
        said = await qmp.run("human-monitor-command", {"command-line": "gpa2hva 0"})
        counted.append(different_pages(asked["pid"], int(said.split()[-1], 16), asked["copy"]))

    monkeypatch.setattr(forking, "fork", remember)
    monkeypatch.setattr(forking, "_await_completion", compare)
    return counted


def different_pages(pid: int, address: int, copy: int) -> int:
    """All pages are compared, whatever is known of them."""
    count, size_bytes = 0, os.fstat(copy).st_size
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for place in range(0, size_bytes, PAGE_BYTES):
            is_now = os.pread(memory.fileno(), PAGE_BYTES, address + place)
            assert len(is_now) == PAGE_BYTES
            count += is_now != os.pread(copy, PAGE_BYTES, place)
    return count


@pytest.mark.root
@pytest.mark.parametrize("goes_on_from", ["boot", "template"])
async def test_what_is_forked_is_the_memory_of_one_instant(home: Path, differing: list[int], goes_on_from: str) -> None:
    spec = parent_spec(home)
    memory_mib = 512 if goes_on_from == "template" else 128
    spec = replace(spec, resources=replace(spec.resources, vcpus=2, cpu_percent=200, memory_mib=memory_mib))
    async with opened(home) as node:
        if goes_on_from == "template":
            await node.make_template(spec)
        try:
            await booted(node, spec)
            await shell(node, spec, _REWRITE)
            for number in range(4):
                await node.fork(spec.id, f"op_{number}", False)
                await node.drop_fork(f"op_{number}")
        finally:
            await node.forget(spec.id)
    assert differing == [0] * 4


@pytest.mark.root
async def test_a_guest_whose_memory_cannot_be_read_stands_still_meanwhile(
    home: Path, differing: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(pid: int, address: int, size_bytes: int) -> NoReturn:
        raise UnreadableError("it is not ours")

    monkeypatch.setattr(forking, "live_memory", refuse)
    async with counting(home) as (node, spec):
        await shell(node, spec, _REWRITE)
        await node.fork(spec.id, "op_1", False)
        await node.drop_fork("op_1")
        await counts(node, spec)
    assert differing == [0]
