"""What the service costs while nothing happens."""

from __future__ import annotations

import time

from bench.measure import Row, cpu_seconds, resident_mib
from tests.private_service import PrivateService

_INSTANCES = 10
_SETTLE_S = 20.0
_WATCHED_S = 60.0


def measure(driver: str = "qemu") -> list[Row]:
    """Resident memory and processor time of the service with ten running instances, over a minute."""
    with PrivateService(driver, {"INSULA_OVERCOMMIT_VCPU": "100"}) as service, service.client() as client:
        client.operations.wait(client.images.prepare("tiny").id, timeout_s=1800)
        operations = [
            client.instances.create(f"rest-{number}", image="tiny", plan="micro-1") for number in range(_INSTANCES)
        ]
        for operation in operations:
            client.operations.wait(operation.id, timeout_s=900)
        time.sleep(_SETTLE_S)
        began_s, used_s = time.monotonic(), cpu_seconds(service.pid)
        time.sleep(_WATCHED_S)
        percent = (cpu_seconds(service.pid) - used_s) / (time.monotonic() - began_s) * 100
        memory_mib = resident_mib(service.pid)
    return [
        Row("service at rest, ten instances: memory", f"{memory_mib:.0f} MiB", "< 150 MiB", memory_mib < 150),
        Row("service at rest, ten instances: processor", f"{percent:.2f} % of a core", "< 1 %", percent < 1),
    ]
