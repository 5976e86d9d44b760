from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from insula.base.errors import Conflict, HostFailure
from insula.domain.instance import Firmware, MachineType, Resources
from insula.node.hypervisor.driver import CanLimitLive, CanPause, EndReason, Machine, MachineSpec, MachineStatus
from insula.node.hypervisor.fake.driver import FakeDriver, Faults
from insula.node.hypervisor.fake.state import crash, state_path


@pytest.fixture
def spec(tmp_path: Path) -> MachineSpec:
    (tmp_path / "disk.qcow2").touch()
    return MachineSpec(
        id="ins_1",
        name="web1",
        folder=tmp_path,
        resources=Resources(vcpus=1, memory_mib=128, disk_gib=1, cpu_percent=100),
        machine_type=MachineType.Q35,
        firmware=Firmware.BIOS,
        disk=tmp_path / "disk.qcow2",
    )


class Agent:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def __aenter__(self) -> Agent:
        self._reader, self._writer = await asyncio.open_unix_connection(self._folder / "agent.sock")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def raw(self, line: bytes) -> bytes:
        self._writer.write(line)
        return await asyncio.wait_for(self._reader.readline(), 2)

    async def ask(self, command: str, **arguments: Any) -> Any:
        reply = await self.raw(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        return json.loads(reply.lstrip(b"\xff"))

    async def run(self, path: str, *words: str, stdin: bytes = b"") -> dict[str, Any]:
        started = await self.ask(
            "guest-exec", path=path, arg=list(words), **{"capture-output": True, "input-data": _b64(stdin)}
        )
        async with asyncio.timeout(2):
            while True:
                status = (await self.ask("guest-exec-status", pid=started["return"]["pid"]))["return"]
                if status["exited"]:
                    return dict(status)
                await asyncio.sleep(0.01)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture
async def machine(spec: MachineSpec) -> AsyncIterator[Machine]:
    machine = await FakeDriver().start(spec)
    yield machine
    await machine.kill()


async def test_a_start_takes_milliseconds_and_the_console_tells_the_phases(spec: MachineSpec) -> None:
    begin_s = time.monotonic()
    machine = await FakeDriver().start(spec)
    async with Agent(spec.folder) as agent:
        assert await agent.ask("guest-ping") == {"return": {}}
    assert time.monotonic() - begin_s < 0.5
    log = (spec.folder / "console.log").read_text()
    assert [line.split()[1] for line in log.splitlines() if line.startswith("insula-phase:")] == [
        "init",
        "network",
        "cloud-init",
        "ready",
    ]
    assert isinstance(machine, CanPause)
    assert isinstance(machine, CanLimitLive)
    await machine.kill()


async def test_the_agent_synchronizes_and_says_what_it_cannot(machine: Machine, spec: MachineSpec) -> None:
    async with Agent(spec.folder) as agent:
        assert (
            await agent.raw(b'\xff{"execute":"guest-sync-delimited","arguments":{"id":7}}\n') == b'\xff{"return": 7}\n'
        )
        assert (await agent.ask("guest-sync", id=8))["return"] == 8
        assert (await agent.ask("guest-fly"))["error"]["class"] == "CommandNotFound"
        assert (await agent.ask("guest-exec", path="/bin/rogue"))["error"]["class"] == "GenericError"
        assert "error" in json.loads(await agent.raw(b"{nonsense\n"))
        assert (await agent.ask("guest-exec-status", pid=1))["error"]["class"] == "GenericError"


async def test_programs_run_and_report(machine: Machine, spec: MachineSpec) -> None:
    async with Agent(spec.folder) as agent:
        assert base64.b64decode((await agent.run("/usr/bin/id"))["out-data"]).startswith(b"uid=0(root)")
        assert (await agent.run("false"))["exitcode"] == 1
        assert (await agent.run("sh", "-c", "exit 7"))["exitcode"] == 7
        assert (await agent.run("cat", stdin=b"in\0put"))["out-data"] == _b64(b"in\0put")
        assert (await agent.run("cat", "/nope"))["exitcode"] == 1
        assert (await agent.run("sleep", "nonsense"))["exitcode"] == 1


async def test_files_stay_in_the_guest_and_on_its_disk(machine: Machine, spec: MachineSpec) -> None:
    async with Agent(spec.folder) as agent:
        handle = (await agent.ask("guest-file-open", path="/../../etc/greeting", mode="w"))["return"]
        await agent.ask("guest-file-write", handle=handle, **{"buf-b64": _b64(b"hello")})
        await agent.ask("guest-file-close", handle=handle)
        handle = (await agent.ask("guest-file-open", path="/etc/greeting"))["return"]
        assert (await agent.ask("guest-file-read", handle=handle, count=3))["return"]["buf-b64"] == _b64(b"hel")
        assert (await agent.ask("guest-file-read", handle=handle, count=30))["return"]["eof"]
        assert "error" in await agent.ask("guest-file-open", path="/etc/none")
    await machine.kill()
    again = await FakeDriver().start(spec)
    async with Agent(spec.folder) as agent:
        assert (await agent.run("cat", "/etc/greeting"))["out-data"] == _b64(b"hello")
    await again.kill()


async def test_a_shutdown_from_inside_ends_it(machine: Machine, spec: MachineSpec) -> None:
    events = machine.events()
    async with Agent(spec.folder) as agent:
        assert await agent.raw(b'{"execute":"guest-shutdown"}\n') == b""
    assert await asyncio.wait_for(machine.wait(), 1) is EndReason.GUEST_SHUTDOWN
    assert [event.kind async for event in events] == ["ended"]
    assert await FakeDriver().last_end(spec.folder) is EndReason.GUEST_SHUTDOWN


async def test_a_crash_from_outside_is_noticed_within_a_second(machine: Machine, spec: MachineSpec) -> None:
    crash(spec.folder)
    assert await asyncio.wait_for(machine.wait(), 1) is EndReason.CRASHED
    assert await FakeDriver().adopt(spec.id, spec.folder) is None


async def test_another_driver_adopts_it_in_the_middle_of_its_boot(spec: MachineSpec) -> None:
    first = await FakeDriver(boot_s=0.4).start(spec)
    await asyncio.sleep(0.05)
    await first.detach()
    second = await FakeDriver().adopt(spec.id, spec.folder)
    assert second is not None
    assert (second.pid, second.started_at_s) == (first.pid, first.started_at_s)
    async with Agent(spec.folder) as agent:
        assert (await agent.run("hostname"))["out-data"] == _b64(b"web1\n")
    assert (spec.folder / "console.log").read_text().count("insula-phase: ready") == 1
    await second.kill()


async def test_a_damaged_or_foreign_state_is_no_machine(machine: Machine, spec: MachineSpec) -> None:
    assert await FakeDriver().adopt("ins_other", spec.folder) is None
    state_path(spec.folder).write_text('{"truncat')
    assert await FakeDriver().adopt(spec.id, spec.folder) is None


async def test_faults_happen_as_ordered(spec: MachineSpec) -> None:
    driver = FakeDriver(faults=Faults(fail_start="no memory left"))
    with pytest.raises(HostFailure, match="no memory left"):
        await driver.start(spec)
    assert await driver.adopt(spec.id, spec.folder) is None
    driver.faults = Faults(never_ready=True, crash_after_s=0.2)
    machine = await driver.start(spec)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1), Agent(spec.folder) as agent:
            await agent.ask("guest-ping")
    assert await asyncio.wait_for(machine.wait(), 1) is EndReason.CRASHED
    await machine.kill()


async def test_a_running_machine_is_not_started_twice_and_a_reset_boots_again(
    machine: Machine, spec: MachineSpec
) -> None:
    with pytest.raises(Conflict, match="runs already"):
        await FakeDriver().start(replace(spec, name="other"))
    events = machine.events()
    await machine.reset()
    assert (await anext(events)).kind == "reset"
    async with Agent(spec.folder) as agent:
        assert "return" in await agent.ask("guest-ping")
    assert (spec.folder / "console.log").read_text().count("insula-phase: ready") == 2
    assert await machine.status() is MachineStatus.RUNNING


async def test_a_paused_guest_keeps_silent(machine: Machine, spec: MachineSpec) -> None:
    assert isinstance(machine, CanPause)
    await machine.pause()
    assert await machine.status() is MachineStatus.PAUSED
    async with Agent(spec.folder) as agent:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await agent.ask("guest-ping")
        await machine.resume()
        assert await agent.raw(b"") == b'{"return": {}}\n'


async def test_the_console_echoes(machine: Machine, spec: MachineSpec) -> None:
    reader, writer = await asyncio.open_unix_connection(spec.folder / "console.sock")
    writer.write(b"hello")
    assert await asyncio.wait_for(reader.readexactly(5), 1) == b"hello"
    writer.close()
    await writer.wait_closed()
