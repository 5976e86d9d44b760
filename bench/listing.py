"""How many lists of 100 instances the service answers a second, token check and database included."""

from __future__ import annotations

import re
import shutil
import subprocess

from bench.measure import Row, at_least
from insula.client import Client
from insula.domain.access import Scope
from tests.private_service import PrivateService

_INSTANCES = 100
_SECONDS = 5
_RUNS = 3


def measure() -> list[Row]:
    """`GET /v1/instances?limit=100` by wrk over loopback; the service has one core to itself, wrk the other."""
    if shutil.which("wrk") is None:
        return [Row("list of 100 instances", "not measured", "≥ 2500 requests/s", None, "needs the package wrk")]
    settings = {
        "INSULA_OVERCOMMIT_VCPU": "1000",
        "INSULA_OVERCOMMIT_MEMORY": "100",
        "INSULA_OVERCOMMIT_DISK": "1000",
        "INSULA_RATE_LIMIT": "100000000",
    }
    with PrivateService("fake", settings) as service, service.client() as client:
        _fill(client)
        secret = client.tokens.create("bench", [Scope.INSTANCES_READ]).secret
        rates = [_wrk(service, secret) for _ in range(_RUNS)]
    return [at_least("list of 100 instances over `/v1`", rates, 2500, "requests/s", f"{_RUNS} runs of {_SECONDS} s")]


def _fill(client: Client) -> None:
    client.operations.wait(client.images.prepare("tiny").id)
    for number in range(_INSTANCES):
        operation = client.instances.create(f"bench-{number}", image="tiny", plan="micro-1")
        client.operations.wait(operation.id, timeout_s=120)


def _wrk(service: PrivateService, secret: str) -> float:
    """Requests a second; every answer must be a whole, successful list."""
    url = f"http://{service.listen}/v1/instances?limit={_INSTANCES}"
    subprocess.run(["taskset", "-p", "-a", "-c", "0", str(service.pid)], capture_output=True, check=True)
    done = subprocess.run(
        ["taskset", "-c", "1", "wrk", "-t1", "-c8", f"-d{_SECONDS}s", "-H", f"Authorization: Bearer {secret}", url],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if found is None or "Non-2xx" in done.stdout:
        raise AssertionError(f"wrk saw failures:\n{done.stdout}")
    return float(found.group(1))
