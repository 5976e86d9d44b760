"""Two instances of `tiny` that were members of the pool before, on real QEMU."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from insula.base import settings
from insula.base.clock import monotonic_s
from insula.domain.instance import PortForward
from insula.node.agent import Node, assemble
from insula.node.network import record
from insula.protocol.node import InstanceSpec

from .life import READY_S, Life, processes_of
from .test_identity import QUESTIONS, QUESTIONS_OF_TINY, assert_nothing_shared
from .test_instance_life import free_port
from .test_templates import no_phase, shell

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]

_FILLED_S = 300.0


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path outside of /root and /tmp, which other users can reach."""
    with tempfile.TemporaryDirectory(prefix="insula-vm-", dir="/var/tmp") as name:
        path = Path(name)
        path.chmod(0o711)
        yield path


async def pooling_node(home: Path) -> Node:
    own = {"INSULA_HOME": str(home), "INSULA_ACCELERATOR": "tcg", "INSULA_TEMPLATES": "asked"}
    return await assemble(settings.load(own | {"INSULA_POOL_MEMORY_MIB": "256"}))


async def test_two_creates_get_two_members_that_share_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("insula.node.agent.templates.Templates.is_calm", True)  # whatever other tests do meanwhile
    model = replace(Life(home, 0).spec, forwards=())
    times_ms: dict[str, list[int]] = {"running": [], "first command": []}
    async with await pooling_node(home) as node:
        await node.prepare_image("tiny", lambda message, percent=-1: None)
        await node.make_template(model)
        assert await node.draw(model) is None
        specs: list[InstanceSpec] = []
        try:
            await _filled(node, home)
            memory_kib = sum(_private_kib(each.machine.pid) for each in node._pool._waiting.values())
            for number in (1, 2):
                specs.append(await _created(node, replace(model, name=f"web{number}"), times_ms))
            answers = [await _answers(node, spec) for spec in specs]
            assert_nothing_shared(answers)
            for spec, told in zip(specs, answers, strict=True):
                assert (told["host name"], told["instance-id"], told["MAC"]) == (spec.hostname, spec.id, spec.mac)
                assert (await shell(node, spec, "cat /root/.ssh/authorized_keys")) == spec.ssh_keys[0]
                await _greets(spec.forwards[0].host_port)
            await _boots_as_itself(node, specs[0], answers[0])
        finally:
            for spec in specs:
                await node.forget(spec.id)
        print(json.dumps(times_ms | {"private MiB of two": memory_kib >> 10}))  # noqa: T201 - seen with -s
    assert processes_of(home) == []


async def _filled(node: Node, home: Path) -> None:
    async with asyncio.timeout(_FILLED_S):
        while len(node._pool._waiting) < 2:
            await asyncio.sleep(0.1)
    for instance_id in node._pool._waiting:
        assert _heard(home / "node" / "instances" / instance_id) == 0, "nobody has spoken yet"


async def _created(node: Node, wish: InstanceSpec, times_ms: dict[str, list[int]]) -> InstanceSpec:
    begun_s = monotonic_s()
    drawn = await node.draw(wish)
    assert drawn is not None
    forwards = (PortForward(22, free_port()),)
    keys = (f"ssh-ed25519 AAAA {wish.name}",)
    spec = replace(wish, id=drawn.id, mac=drawn.mac, hostname=f"{wish.name}.example.org", ssh_keys=keys)
    spec = replace(spec, forwards=forwards)
    await node.configure(spec)
    await node.make_disk(spec)
    await node.start(spec.id)
    boot = await node.await_ready(spec.id, READY_S, no_phase)
    times_ms["running"].append(int((monotonic_s() - begun_s) * 1000))
    assert [phase.name for phase in boot.phases] == ["renew", "ready"]
    assert await shell(node, spec, "hostname") == spec.hostname
    times_ms["first command"].append(int((monotonic_s() - begun_s) * 1000))
    return spec


async def _answers(node: Node, spec: InstanceSpec) -> dict[str, str]:
    asked = QUESTIONS | QUESTIONS_OF_TINY
    return {name: await shell(node, spec, script) for name, script in asked.items()}


async def _boots_as_itself(node: Node, spec: InstanceSpec, before: dict[str, str]) -> None:
    await node.reboot(spec.id, 30)
    assert (await node.await_ready(spec.id, READY_S, no_phase)).phases[0].name == "firmware"
    after = await _answers(node, spec)
    for name in ("host name", "host file", "host key", "machine-id", "instance-id", "MAC"):
        assert after[name] == before[name]
    assert await shell(node, spec, "cat /run/insula/seed/insula/hostname") == spec.hostname


async def _greets(port: int) -> None:
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await reader.read(4)) == b"SSH-"
        writer.close()


def _heard(folder: Path) -> int:
    """How many packets of the guest its network has seen."""
    found = record.load(folder)
    assert found is not None
    lines = Path(f"/proc/{found.processes[0].pid}/net/dev").read_text().splitlines()
    taps = [line.split() for line in lines if line.strip().startswith("vm0")]
    assert taps, lines
    return sum(int(words[2]) for words in taps)


def _private_kib(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_"))
