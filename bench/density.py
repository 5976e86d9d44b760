"""How many small servers fit: what idle instances from one template take of the host's memory and processors."""

from __future__ import annotations

import os
import statistics
import time

from bench.guest import make_key, wait_for_root
from bench.measure import Row, at_most, cpu_seconds, machines_below, private_mib
from insula.client import Client
from tests.private_service import PrivateService

_PLAN = "micro-2"  # 512 MiB
_COUNT = int(os.environ.get("BENCH_DENSITY_COUNT", "50"))
_AT_ONCE = 2
_IDLE_S = float(os.environ.get("BENCH_DENSITY_IDLE_S", "600"))


def measure() -> list[Row]:
    """Fifty, each of which has run one command; then ten idle minutes, a look, and one more login everywhere."""
    extra = {"INSULA_OVERCOMMIT_VCPU": "100", "INSULA_OVERCOMMIT_MEMORY": "100", "INSULA_OVERCOMMIT_DISK": "100"}
    with PrivateService("qemu", extra) as service, service.client(timeout_s=600) as client:
        key = make_key(service.top)
        client.operations.wait(client.images.prepare("debian-12").id, timeout_s=3600)
        client.operations.wait(client.images.warm("debian-12", plan=_PLAN).id, timeout_s=600)
        ports = _create(client, key.with_suffix(".pub").read_text().strip())
        machines = machines_below(service.home)
        if len(machines) != _COUNT:
            raise AssertionError(f"{len(machines)} machines run instead of {_COUNT}")
        active_mib = [private_mib(pid) for pid in machines]
        time.sleep(_IDLE_S / 2)  # what a first command leaves behind has come to rest
        before_s = {pid: cpu_seconds(pid) for pid in machines}
        time.sleep(_IDLE_S / 2)
        percents = [(cpu_seconds(pid) - before_s[pid]) * 200 / _IDLE_S for pid in machines]
        idle_mib = [private_mib(pid) for pid in machines]
        for port in ports:
            wait_for_root(port, key)
    note = f"n={_COUNT}, all reached over SSH afterwards"
    return [
        at_most("private memory of an instance after its first command", active_mib, 60, "MiB", note),
        at_most("mean private memory of an idle instance", [statistics.mean(idle_mib)], 60, "MiB", note),
        at_most("processor of an idle instance", percents, 2, "% of a core", note),
    ]


def _create(client: Client, public_key: str) -> list[int]:
    """Make them, a few at a time, let each run a command, and return their SSH ports."""
    ports = []
    for first in range(0, _COUNT, _AT_ONCE):
        numbers = range(first, min(_COUNT, first + _AT_ONCE))
        asked = [
            client.instances.create(f"dense-{number}", image="debian-12", plan=_PLAN, ssh_keys=[public_key])
            for number in numbers
        ]
        for operation in asked:
            client.operations.wait(operation.id, timeout_s=600)
            client.guest.execute(operation.target, ["/bin/true"])
            port = client.instances.get(operation.target).ssh_port
            assert port is not None
            ports.append(port)
    return ports
