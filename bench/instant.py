"""New instances from templates and from the pool: when they run, obey agent and SSH; beside QEMU by hand and a boot."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from bench import pool
from bench.bare_qemu import BareQemu
from bench.guest import image_files, make_key, wait_for_root
from bench.measure import Row, at_most, spread
from bench.virt_install import Libvirt, missing_programs
from insula.client import Client
from tests.private_service import PrivateService, free_port

_PLAN = "entry-1"
_PLAN_MIB = 1024
_TIMES = 20
_AT_ONCE = 10
_COLD_TIMES = 3


@dataclass
class Times:
    """Seconds from the request, one value for each instance."""

    running: list[float] = field(default_factory=list)
    agent: list[float] = field(default_factory=list)
    ssh: list[float] = field(default_factory=list)


def measure() -> list[Row]:
    with PrivateService("qemu") as service, service.client(timeout_s=600) as client:
        key = make_key(service.top)
        tiny = _from_template(client, key, "tiny")
        debian = _from_template(client, key, "debian-12")
        row_s, at_once_s = _ten(client)
        from_pool = pool.measure(service, key)
        with BareQemu(image_files(service.home, "debian-12"), key, _PLAN_MIB) as bare:
            by_hand = [bare.copy_s() for _ in range(_TIMES)]
        cold = _cold(service.home, key)
    return [
        *from_pool,
        at_most("create → running, identity renewed, debian-12 from its template", debian.running, 3, "s"),
        at_most("create → root command by the agent, debian-12 from its template", debian.agent, 3, "s"),
        at_most("create → root command over SSH, debian-12 from its template", debian.ssh, 4, "s"),
        at_most("create → running, identity renewed, tiny from its template", tiny.running, 3, "s"),
        at_most("create → root command over SSH, tiny from its template", tiny.ssh, 3, "s"),
        Row(
            "QEMU -incoming by hand → root command over SSH, debian-12", spread(by_hand, "s", 2), "", None, "no renewal"
        ),
        cold,
        _ratio("ten creates at once / ten in a row, debian-12", at_once_s / row_s, 0.7),
    ]


def _from_template(client: Client, key: Path, image: str) -> Times:
    client.operations.wait(client.images.prepare(image).id, timeout_s=3600)
    client.operations.wait(client.images.warm(image, plan=_PLAN).id, timeout_s=600)
    times = Times()
    public_key = key.with_suffix(".pub").read_text().strip()
    for number in range(_TIMES + 1):
        began = time.monotonic()
        operation = client.instances.create(f"instant-{number}", image=image, plan=_PLAN, ssh_keys=[public_key])
        client.operations.wait(operation.id, timeout_s=600)
        times.running.append(time.monotonic() - began)
        client.guest.execute(operation.target, ["/bin/true"])
        times.agent.append(time.monotonic() - began)
        port = client.instances.get(operation.target).ssh_port
        assert port is not None
        wait_for_root(port, key)
        times.ssh.append(time.monotonic() - began)
        client.operations.wait(client.instances.delete(operation.target).id, timeout_s=120)
    return Times(times.running[1:], times.agent[1:], times.ssh[1:])  # the first one warms the service up


def _ten(client: Client) -> tuple[float, float]:
    """Seconds until ten instances run, created one after the other and all at once."""
    took = []
    for at_once in (False, True):
        began = time.monotonic()
        operations = []
        for number in range(_AT_ONCE):
            operations.append(client.instances.create(f"ten-{number}", image="debian-12", plan=_PLAN))
            if not at_once:
                client.operations.wait(operations[-1].id, timeout_s=600)
        for operation in operations:
            client.operations.wait(operation.id, timeout_s=600)
        took.append(time.monotonic() - began)
        for operation in [client.instances.delete(operation.target) for operation in operations]:
            client.operations.wait(operation.id, timeout_s=120)
    return took[0], took[1]


def _cold(home: Path, key: Path) -> Row:
    what = "virt-install, cold → root command over SSH, debian-12"
    if missing := missing_programs():
        return Row(what, "not measured", "", None, f"needs {', '.join(missing)}")
    times = []
    with Libvirt() as libvirt:
        for _ in range(_COLD_TIMES):
            port, began = free_port(), time.monotonic()
            libvirt.launch(image_files(home, "debian-12"), key.with_suffix(".pub"), port)
            wait_for_root(port, key)
            times.append(time.monotonic() - began)
            libvirt.destroy()
    return Row(what, spread(times, "s", 1), "", None, f"n={len(times)}")


def _ratio(what: str, value: float, bar: float) -> Row:
    return Row(what, f"{value:.2f}", f"≤ {bar:g}", value <= bar)
