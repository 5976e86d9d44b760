"""Guests that stand by, on real QEMU: they become instances, and whatever is killed leaves nothing of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from insula.base.run import run
from insula.node.agent import Node
from insula.protocol.node import InstanceSpec
from tests.connected import SPACE, connect

from .life import READY_S, emulated_node, processes_of
from .pooling import FILLED_S, Times, begin, draw, fill, model, pooling_node
from .test_identity import QUESTIONS, QUESTIONS_OF_DEBIAN, QUESTIONS_OF_TINY, assert_nothing_shared
from .test_templates import no_phase, shell

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]

IMAGES = ("tiny",)  # forks of Debian are compared in test_fork_identities, siblings of it in test_identity
_QUESTIONS = {"tiny": QUESTIONS | QUESTIONS_OF_TINY, "debian-12": QUESTIONS | QUESTIONS_OF_DEBIAN}
_KEPT = ("host name", "host file", "host key", "machine-id", "instance-id", "MAC")
_ROOT = Path(__file__).parents[2]


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path outside of /root and /tmp, which other users can reach."""
    with tempfile.TemporaryDirectory(prefix="insula-vm-", dir="/var/tmp") as name:
        path = Path(name)
        path.chmod(0o711)
        yield path


@pytest.mark.parametrize("image", IMAGES)
async def test_two_creates_get_two_members_that_share_nothing(home: Path, image: str) -> None:
    times, wish = Times(), model(home, image)
    specs: list[InstanceSpec] = []
    async with await pooling_node(home, image) as node:
        try:
            await fill(node, wish)
            memory_mib = sum(_private_kib(each.machine.pid) for each in node._pool._waiting.values()) >> 10
            for name in ("web1", "web2"):
                key = await _new_key(home / name)
                spec = await draw(node, wish, name=name, hostname=f"{name}.example.org", ssh_keys=(key,))
                specs.append(spec)
                assert await begin(node, spec, times) == ["adopt", "ready"]
            answers = [
                {name: await shell(node, spec, ask) for name, ask in _QUESTIONS[image].items()} for spec in specs
            ]
            assert_nothing_shared(answers)
            for spec, told in zip(specs, answers, strict=True):
                assert (told["host name"], told["instance-id"], told["MAC"]) == (spec.hostname, spec.id, spec.mac)
                assert abs(float(await shell(node, spec, "date +%s")) - time.time()) < 3
                assert await _log_in(node, home / spec.name, spec) == spec.hostname
            assert await _log_in(node, home / "web1", specs[1]) == "", "one's key opens the other"
            await _boots_as_itself(node, specs[0], answers[0], _QUESTIONS[image])
        finally:
            for spec in specs:
                await node.forget(spec.id)
            await node.remove_space(SPACE)
        print(json.dumps(asdict(times) | {"private MiB of two": memory_mib}))  # noqa: T201 - seen with -s
    assert processes_of(home) == []


async def test_a_member_that_is_killed_or_does_not_obey_is_booted(home: Path) -> None:
    wish = model(home, "tiny")
    async with await pooling_node(home, "tiny") as node:
        await fill(node, wish)
        for harm in (_kill_machine, _kill_program):
            spec = await draw(node, wish, name="web1", hostname="web1")
            await harm(node, spec)
            try:
                assert (await begin(node, spec))[0] == "firmware"
                assert await shell(node, spec, "hostname; cat /var/lib/insula/instance-id") == f"web1\n{spec.id}"
                assert await shell(node, spec, "cat /etc/machine-id") != ""
            finally:
                await node.forget(spec.id)
        await node.remove_space(SPACE)
        assert await node.leftovers(frozenset(), remove=False) == []
    assert processes_of(home) == []


async def test_a_killed_service_leaves_what_was_claimed_and_no_member(home: Path) -> None:
    victim = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.vm.pooling", str(home), "tiny"), cwd=_ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert victim.stdout is not None
    async with asyncio.timeout(FILLED_S):
        instance_id = (await victim.stdout.readline()).decode().strip()
    victim.kill()
    await victim.wait()
    assert len([line for line in processes_of(home) if "qemu-system" in line]) >= 2
    async with await emulated_node(home) as node:
        assert [each.name for each in (home / "node" / "instances").iterdir()] == [instance_id]
        assert [line for line in processes_of(home) if "qemu-system" in line] == []
        assert await node.leftovers(frozenset({instance_id}), remove=False) == []
        spec = replace(model(home, "tiny"), id=instance_id)
        await connect(node, spec)
        assert (await begin(node, spec))[0] in {"firmware", "renew"}  # the operation goes on
        await node.forget(instance_id)
        await node.remove_space(SPACE)
    assert processes_of(home) == []


async def _kill_machine(node: Node, spec: InstanceSpec) -> None:
    """Its end has not been noted yet when the instance takes it."""
    os.kill(node._pool._drawn[spec.id].machine.pid, signal.SIGKILL)


async def _kill_program(node: Node, spec: InstanceSpec) -> None:
    """The one that waits to be told ends, as if it had been told something else."""
    member = node._pool._drawn[spec.id]
    await member.machine.resume()  # type: ignore[attr-defined]  # QEMU can
    await member.guest.agent.call("guest-exec", {"path": "/bin/kill", "arg": ["-9", str(member.guest.pid)]})
    await asyncio.sleep(1)
    await member.machine.pause()  # type: ignore[attr-defined]


async def _new_key(path: Path) -> str:
    await run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], timeout_s=30)
    return path.with_suffix(".pub").read_text().strip()


async def _log_in(node: Node, key: Path, spec: InstanceSpec) -> str:
    """The host name that a command over SSH sees; empty when the key does not open."""
    options = {"BatchMode": "yes", "StrictHostKeyChecking": "no", "UserKnownHostsFile": os.devnull, "LogLevel": "ERROR"}
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    (forward,) = node._parts.network.forwards(spec.nics)
    port = str(forward.host_port)
    argv = ["ssh", "-F", "none", "-i", str(key), "-p", port, *words, "root@127.0.0.1", "hostname"]
    return (await run(argv, timeout_s=60, check=False)).text.strip()


async def _boots_as_itself(node: Node, spec: InstanceSpec, before: dict[str, str], questions: dict[str, str]) -> None:
    await node.reboot(spec.id, 30)
    assert (await node.await_ready(spec.id, READY_S, no_phase)).phases[0].name == "firmware"
    for name in _KEPT:
        assert await shell(node, spec, questions[name]) == before[name]
    assert await shell(node, spec, "cat /run/insula/seed/insula/hostname") == spec.hostname


def _private_kib(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_"))
