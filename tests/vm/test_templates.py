"""A template of `tiny` on real QEMU, and two instances that go on from it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from insula.base.clock import monotonic_s
from insula.base.errors import Unsupported
from insula.domain.ids import Kind, new_id
from insula.domain.instance import BootPhase, Firmware, MachineType
from insula.node.agent import Node
from insula.node.agent.first_start import PROGRAM
from insula.node.storage.template import Template
from insula.protocol.node import BootReport, InstanceSpec
from tests.connected import alone

from .life import READY_S, Life, emulated_node, processes_of

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path outside of /root and /tmp, which other users can reach."""
    with tempfile.TemporaryDirectory(prefix="insula-vm-", dir="/var/tmp") as name:
        path = Path(name)
        path.chmod(0o711)
        yield path


def no_phase(phase: BootPhase) -> None:
    """A boot that nobody watches."""


async def first_boot(node: Node, spec: InstanceSpec) -> BootReport:
    await node.configure(spec)
    await node.make_disk(spec)
    await node.start(spec.id)
    return await node.await_ready(spec.id, READY_S, no_phase)


async def shell(node: Node, spec: InstanceSpec, script: str) -> str:
    done = await node.execute(spec.id, ["/bin/sh", "-c", script], b"", 60)
    return done.stdout.decode().strip()


async def test_a_copy_that_fails_to_renew_itself_is_booted_as_itself(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("insula.node.agent.first_start.PROGRAM", "/bin/false")
    spec = replace(Life(home, 0).spec, nics=(alone("52:54:00:12:34:56"),))
    async with await emulated_node(home) as node:
        await node.prepare_image("tiny", lambda message, percent=-1: None)
        try:
            template = await node.make_template(spec)
            boot = await first_boot(node, spec)
            assert boot.phases[0].name == "firmware"
            assert await shell(node, spec, "hostname") == spec.hostname
            assert await shell(node, spec, "cat /sys/class/net/eth0/address") == spec.mac
            assert template.disk.exists()
        finally:
            await node.forget(spec.id)
        assert processes_of(home) == []


@pytest.mark.parametrize(
    ("machine_type", "firmware"), [(MachineType.Q35, Firmware.UEFI), (MachineType.MICROVM, Firmware.BIOS)]
)
async def test_other_boards_go_on_from_a_template(home: Path, machine_type: MachineType, firmware: Firmware) -> None:
    model = replace(
        Life(home, 0).spec, nics=(alone("52:54:00:12:34:56"),), machine_type=machine_type, firmware=firmware
    )
    model = replace(model, resources=replace(model.resources, memory_mib=256))  # UEFI needs that much
    spec = replace(model, id=new_id(Kind.INSTANCE), name="web1", hostname="web1", nics=(alone("52:54:00:00:00:01"),))
    times_ms: dict[str, int] = {}
    async with await emulated_node(home) as node:
        await node.prepare_image("tiny", lambda message, percent=-1: None)
        try:
            await _made(node, model)
            await _goes_on(node, spec, times_ms)
            assert ("efi" in await shell(node, spec, "ls /sys/firmware")) is (firmware is Firmware.UEFI)
            await node.reboot(spec.id, 30)
            assert (await node.await_ready(spec.id, READY_S, no_phase)).phases[0].name == "firmware"
        finally:
            await node.forget(spec.id)
        print(json.dumps(times_ms))  # noqa: T201 - the measurements, seen with -s
        assert processes_of(home) == []


async def test_two_instances_go_on_from_one_template(home: Path) -> None:
    node = await emulated_node(home)
    model = replace(Life(home, 0).spec, nics=(alone("52:54:00:12:34:56"),))
    specs = [
        replace(
            model, id=new_id(Kind.INSTANCE), name=f"web{n}", hostname=f"web{n}", nics=(alone(f"52:54:00:00:00:0{n}"),)
        )
        for n in (1, 2)
    ]
    times_ms: dict[str, int] = {}
    async with node:
        await node.prepare_image("tiny", lambda message, percent=-1: None)
        try:
            begun_s = monotonic_s()
            template = await _made(node, model)
            times_ms["make"] = int((monotonic_s() - begun_s) * 1000)
            assert processes_of(template.folder.parent) == []
            for spec in specs:
                await _goes_on(node, spec, times_ms)
            answers = [await shell(node, spec, "cat /etc/machine-id /proc/sys/kernel/random/uuid") for spec in specs]
            assert not set(answers[0].split()) & set(answers[1].split()), "siblings share an identity"
            await _hibernates(node, specs[0])
        finally:
            for spec in specs:
                await node.forget(spec.id)
        print(json.dumps(times_ms))  # noqa: T201 - the measurements, seen with -s
        assert processes_of(home) == []


async def _made(node: Node, spec: InstanceSpec) -> Template:
    try:
        return await node.make_template(spec)
    except Unsupported as error:
        pytest.skip(f"the image has no {PROGRAM}: {error}")


async def _goes_on(node: Node, spec: InstanceSpec, times_ms: dict[str, int]) -> None:
    boot = await first_boot(node, spec)
    assert [phase.name for phase in boot.phases] == ["renew", "ready"]
    times_ms[spec.name] = boot.took_ms
    assert await shell(node, spec, "hostname") == spec.hostname
    assert await shell(node, spec, "cat /sys/class/net/eth0/address") == spec.mac


async def _hibernates(node: Node, spec: InstanceSpec) -> None:
    await shell(node, spec, "echo kept > /run/kept")
    await node.hibernate(spec.id)
    await node.start(spec.id)
    await node.await_ready(spec.id, READY_S, no_phase)
    assert await shell(node, spec, "cat /run/kept") == "kept"
