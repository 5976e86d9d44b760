"""New instances from guests that were renewed ahead: a part of :mod:`bench.instant`.

The host makes these guests while it is calm only, so measuring waits for one before each create.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.guest import wait_for_root
from bench.measure import Row, at_most, cpu_seconds, machines_below, private_mib
from insula.client import Client
from tests.private_service import PrivateService

TIMES = int(os.environ.get("BENCH_POOL_TIMES", "20"))
_PLAN = "entry-1"
_MEMBERS_S = 900.0  # until the host has been calm for long enough


@dataclass
class Hits:
    """Seconds from the request, and MiB of the guest while it waits; one value for each instance."""

    running: list[float] = field(default_factory=list)
    agent: list[float] = field(default_factory=list)
    ssh: list[float] = field(default_factory=list)
    private_mib: list[float] = field(default_factory=list)


def measure(service: PrivateService, key: Path) -> list[Row]:
    """Starts the service anew with a pool; its images and templates are there."""
    service.stop()
    service.environment["INSULA_POOL_MEMORY_MIB"] = "4096"
    service.start()
    with service.client(timeout_s=600) as client:
        return [
            row
            for image, ssh_s in (("tiny", 0.25), ("debian-12", 1.0))
            for row in _rows(service, client, key, (image, ssh_s))
        ]


def _rows(service: PrivateService, client: Client, key: Path, asked: tuple[str, float]) -> list[Row]:
    image, ssh_s = asked
    hits = _hits(service, client, key, image)
    return [
        at_most(f"create → running, {image} from the pool", hits.running, 0.03, "s"),
        at_most(f"create → root command by the agent, {image} from the pool", hits.agent, 0.2, "s"),
        at_most(f"create → root command over SSH, {image} from the pool", hits.ssh, ssh_s, "s"),
        at_most(f"private memory of a guest in the pool, {image}", hits.private_mib, 200, "MiB"),
    ]


def _hits(service: PrivateService, client: Client, key: Path, image: str) -> Hits:
    hits, number = Hits(), 0
    create = _creator(client, key, image)
    _delete(client, create(f"{image}-asks"))  # the host makes members of what was asked for
    while len(hits.running) < TIMES:
        member = _await_member(service.home)
        private = private_mib(member)
        number += 1
        began = time.monotonic()
        name = create(f"{image}-{number}")
        running = time.monotonic() - began
        client.guest.execute(name, ["/bin/true"])
        agent = time.monotonic() - began
        made = client.instances.get(name)
        assert made.ssh_port is not None
        wait_for_root(made.ssh_port, key)
        ssh = time.monotonic() - began
        _delete(client, name)
        if made.boot_phases[0].name == "adopt":  # else the member was just given up
            hits.running.append(running)
            hits.agent.append(agent)
            hits.ssh.append(ssh)
            hits.private_mib.append(private)
    return hits


def _creator(client: Client, key: Path, image: str) -> Callable[[str], str]:
    public_key = key.with_suffix(".pub").read_text().strip()

    def create(name: str) -> str:
        operation = client.instances.create(name, image=image, plan=_PLAN, ssh_keys=[public_key])
        client.operations.wait(operation.id, timeout_s=600)
        return operation.target

    return create


def _delete(client: Client, name: str) -> None:
    client.operations.wait(client.instances.delete(name).id, timeout_s=120)


def _await_member(home: Path) -> int:
    """The process of one that stands still, which uses no processor; nothing else of this service runs then."""
    deadline = time.monotonic() + _MEMBERS_S
    while time.monotonic() < deadline:
        before = {pid: cpu_seconds(pid) for pid in machines_below(home)}
        time.sleep(1.5)
        after = {pid: cpu_seconds(pid) for pid in machines_below(home)}
        if after and before == after:
            return next(iter(after))
    raise AssertionError(f"no guest waits in the pool after {_MEMBERS_S:g} s: was the host busy all the time?")
