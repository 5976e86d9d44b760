"""What control itself costs while it creates an instance: everything but QEMU, the disk and the guest."""

from __future__ import annotations

import time

from bench.measure import Row, at_most, cpu_seconds, spread
from tests.private_service import PrivateService

_TIMES = 25


def measure() -> list[Row]:
    """From the request until the operation has succeeded, one after another, on the fake driver.

    The fake node's own work (records, a console log, an imaginary boot) is inside, so the figure is an upper bound.
    """
    accepted: list[float] = []
    whole: list[float] = []
    with PrivateService("fake") as service, service.client() as client:
        client.operations.wait(client.images.prepare("tiny").id)

        for number in range(3 + _TIMES):
            if number == 3:
                used_s = cpu_seconds(service.pid)
            began = time.perf_counter()
            operation = client.instances.create(f"control-{number}", image="tiny", plan="micro-1")
            accepted.append((time.perf_counter() - began) * 1000)
            client.operations.wait(operation.id)
            whole.append((time.perf_counter() - began) * 1000)
        per_create_ms = (cpu_seconds(service.pid) - used_s) / _TIMES * 1000
    return [
        at_most("control's share of `create`, wall", whole[3:], 60, "ms"),
        Row("of it until the request is accepted", spread(accepted[3:], "ms")),
        Row("processor time of the service per create", f"{per_create_ms:.0f} ms"),
    ]
