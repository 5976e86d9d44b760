"""What dialects cost over the native API: the same life of an instance by both, in turns, on the fake driver."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx

from bench.measure import Row, repeated, spread
from insula.domain.access import Scope
from tests.api.probes import PUBLIC_KEY
from tests.private_service import PrivateService

_LIVES, _READS, _BESIDE = 40, 200, 20
_POLL_S = 0.002


def measure() -> list[Row]:
    with PrivateService("fake", {"INSULA_RATE_LIMIT": "10000000", "INSULA_OVERCOMMIT_VCPU": "100"}) as service:
        with service.client() as client:
            secret = client.tokens.create("bench", [Scope.ADMIN]).secret
            for number in range(_BESIDE):
                made = client.instances.create(f"beside-{number}", image="tiny", plan="micro-1")
                client.operations.wait(made.id, timeout_s=60)
        with httpx.Client(
            base_url=f"http://{service.listen}", headers={"Authorization": f"Bearer {secret}"}, trust_env=False
        ) as http:
            return _measured(http)


def _measured(http: httpx.Client) -> list[Row]:
    instance = _asked(http, "GET", "/v1/instances?limit=1")["items"][0]["id"]
    droplet = _asked(http, "GET", "/v2/droplets?per_page=1")["droplets"][0]["id"]
    linode = _asked(http, "GET", "/v4/linode/instances")["data"][0]["id"]
    native = (
        ("create, wait, stop, wait, delete", lambda: _native_life(http)),
        ("show one", lambda: _asked(http, "GET", f"/v1/instances/{instance}")),
        ("list twenty", lambda: _asked(http, "GET", "/v1/instances?limit=20")),
    )
    dialects: Mapping[str, Sequence[Callable[[], object]]] = {
        "DigitalOcean": (
            lambda: _droplet_life(http),
            lambda: _asked(http, "GET", f"/v2/droplets/{droplet}"),
            lambda: _asked(http, "GET", "/v2/droplets?per_page=20"),
        ),
        "Linode": (
            lambda: _linode_life(http),
            lambda: _asked(http, "GET", f"/v4/linode/instances/{linode}"),
            lambda: _asked(http, "GET", "/v4/linode/instances?page_size=25"),
        ),
    }
    note, rows = f"fake driver, {_BESIDE} instances beside", []
    for name, theirs in dialects.items():
        for (what, ours), other in zip(native, theirs, strict=True):
            times = _LIVES if "wait" in what else _READS
            bar = 1.15 if "wait" in what else None
            rows.append(_row(f"{name} / native: {what}", _paired(ours, other, times), bar, f"{note}, n={times}"))
    return rows


def _paired(native: Callable[[], object], dialect: Callable[[], object], times: int) -> tuple[list[float], list[float]]:
    """Milliseconds of both, in turns."""
    repeated(native, 1), repeated(dialect, 1)
    both: tuple[list[float], list[float]] = ([], [])
    for _ in range(times):
        for place, action in enumerate((native, dialect)):
            both[place].extend(repeated(action, 1, warm_up=0))
    return both


def _row(what: str, both: tuple[list[float], list[float]], bar: float | None, note: str) -> Row:
    native, dialect = both
    ratio = statistics.median(dialect) / statistics.median(native)
    told = f"{spread(dialect, 'ms', 1)} beside {spread(native, 'ms', 1)}; {note}"
    if bar is None:
        return Row(what, f"{ratio:.2f}", note=told)
    return Row(what, f"{ratio:.2f}", f"≤ {bar:g}", ratio <= bar, told)


def _asked(http: httpx.Client, method: str, path: str, body: Any = None) -> Any:
    answer = http.request(method, path, json=body)
    answer.raise_for_status()
    return answer.json() if answer.content else None


def _native_life(http: httpx.Client) -> None:
    wish = {"name": "life", "image": "tiny", "plan": "micro-1"}
    made = _asked(http, "POST", "/v1/instances", wish)
    _until(lambda: _asked(http, "GET", f"/v1/operations/{made['id']}")["state"] == "succeeded")
    place = f"/v1/instances/{made['target']}"
    stopped = _asked(http, "POST", f"{place}/stop", {"graceful_s": 0})
    _until(lambda: _asked(http, "GET", f"/v1/operations/{stopped['id']}")["state"] == "succeeded")
    deleted = _asked(http, "DELETE", place)
    _until(lambda: _asked(http, "GET", f"/v1/operations/{deleted['id']}")["state"] == "succeeded")


def _droplet_life(http: httpx.Client) -> None:
    wish = {"name": "life", "image": "tiny-x64", "size": "micro-1", "region": "nyc3"}
    made = _asked(http, "POST", "/v2/droplets", wish)
    _until(lambda: _is_completed(http, made["links"]["actions"][0]["id"]))
    place = f"/v2/droplets/{made['droplet']['id']}"
    stopped = _asked(http, "POST", f"{place}/actions", {"type": "power_off"})
    _until(lambda: _is_completed(http, stopped["action"]["id"]))
    _asked(http, "DELETE", place)
    _until(lambda: _asked(http, "GET", "/v2/actions?per_page=1")["actions"][0]["status"] == "completed")


def _linode_life(http: httpx.Client) -> None:
    wish: dict[str, Any] = {"label": "life", "image": "linode/tiny", "type": "micro-1", "region": "us-east"}
    wish |= {"authorized_keys": [PUBLIC_KEY]}
    place = f"/v4/linode/instances/{_asked(http, 'POST', '/v4/linode/instances', wish)['id']}"
    _until(lambda: _asked(http, "GET", place)["status"] == "running")
    _asked(http, "POST", f"{place}/shutdown")
    _until(lambda: _asked(http, "GET", place)["status"] == "offline")
    _asked(http, "DELETE", place)
    _until(lambda: _asked(http, "GET", "/v4/account/events?page_size=25")["data"][0]["status"] == "finished")


def _is_completed(http: httpx.Client, action: int) -> bool:
    return bool(_asked(http, "GET", f"/v2/actions/{action}")["action"]["status"] == "completed")


def _until(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(_POLL_S)
