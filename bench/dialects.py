"""What a dialect costs over the native API: the same life of an instance by both, in turns, on the fake driver."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import httpx

from bench.measure import Row, repeated, spread
from insula.domain.access import Scope
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
    lives = _paired(lambda: _native_life(http), lambda: _droplet_life(http), _LIVES)
    instance = _asked(http, "GET", "/v1/instances?limit=1")["items"][0]["id"]
    droplet = _asked(http, "GET", "/v2/droplets?per_page=1")["droplets"][0]["id"]
    shows = _paired(
        lambda: _asked(http, "GET", f"/v1/instances/{instance}"),
        lambda: _asked(http, "GET", f"/v2/droplets/{droplet}"),
        _READS,
    )
    lists = _paired(
        lambda: _asked(http, "GET", "/v1/instances?limit=20"),
        lambda: _asked(http, "GET", "/v2/droplets?per_page=20"),
        _READS,
    )
    note = f"fake driver, {_BESIDE} instances beside"
    return [
        _row("dialect / native: create, wait, stop, wait, delete", lives, 1.15, f"{note}, n={_LIVES}"),
        _row("dialect / native: show one", shows, None, f"{note}, n={_READS}"),
        _row("dialect / native: list twenty", lists, None, f"{note}, n={_READS}"),
    ]


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


def _is_completed(http: httpx.Client, action: int) -> bool:
    return bool(_asked(http, "GET", f"/v2/actions/{action}")["action"]["status"] == "completed")


def _until(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(_POLL_S)
