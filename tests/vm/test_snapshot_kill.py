"""The service is killed with -9 while it makes snapshots of a real machine: its guest writes on, nothing is left."""

from __future__ import annotations

import time

import pytest

from insula.client import Client
from insula.domain.operation import Operation, OperationState
from insula.domain.snapshot import SnapshotState
from tests.private_service import PrivateService

from .test_fork import _CHECK_LOG, _COUNT, _COUNTER
from .test_fork_kill import shell, uptime_s

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1200)]

_DELAYS_S = (0.02, 0.06, 0.1, 0.15, 0.2, 0.3, 0.45, 0.6, 0.9)
_REVERT_DELAYS_S = (0.05, 0.3, 0.8, 2.0)
_ENDINGS = {OperationState.SUCCEEDED, OperationState.FAILED}


def test_a_killed_service_leaves_a_guest_that_writes_and_snapshots_that_are_whole_or_gone() -> None:
    seen: list[str] = []
    with PrivateService("qemu", {"INSULA_ACCELERATOR": "tcg"}, images=("tiny",)) as service:
        with service.client() as client:
            created = client.instances.create("web1", image="tiny", plan="micro-1")
            assert client.operations.wait(created.id, timeout_s=300).state is OperationState.SUCCEEDED
            shell(client, "web1", _COUNTER)
        for number, delay_s in enumerate(_DELAYS_S):
            kind = "memory" if number % 3 == 2 else "disk"
            seen.append(snapshot_and_kill(service, delay_s, f"s{number}", kind))
        for number, delay_s in enumerate(_REVERT_DELAYS_S):
            seen.append(revert_and_kill(service, delay_s, number % 2 == 0))
        with service.client() as client:
            for one in client.snapshots.list():
                client.operations.wait(client.snapshots.delete(one.id).id)
            client.operations.wait(client.instances.delete("web1").id)
            assert client.host.repair(remove=False) == []
            assert list((service.home / "node" / "forks").iterdir()) == []
            assert list((service.home / "node" / "snapshots").iterdir()) == []
    print(seen)  # noqa: T201 - how each ended, seen with -s


def killed(service: PrivateService, operation: Operation, delay_s: float) -> Operation:
    """Kill the service after a while and start it again; the operation as it ended."""
    time.sleep(delay_s)
    service.kill()
    service.start()
    with service.client() as client:
        deadline_s = time.monotonic() + 180
        while (ended := client.operations.get(operation.id)).state not in _ENDINGS:
            assert time.monotonic() < deadline_s, ended
            time.sleep(0.1)
    return ended


def snapshot_and_kill(service: PrivateService, delay_s: float, name: str, kind: str) -> str:
    with service.client() as client:
        up_s = uptime_s(client)
        count = int(shell(client, "web1", _COUNT))
        operation = client.snapshots.create("web1", name, kind=kind)
    ended = killed(service, operation, delay_s)
    with service.client() as client:
        assert uptime_s(client) > up_s
        writes(client, count)
        made = [one.state for one in client.snapshots.list(name=name)]
        assert made == ([SnapshotState.AVAILABLE] if ended.state is OperationState.SUCCEEDED else [])
        assert client.host.repair(remove=False) == []
    return f"{kind} {delay_s:g}: {ended.state} {(ended.result or {}).get('consistency')}"


def writes(client: Client, count: int) -> None:
    """The guest goes on and its file system takes what it writes."""
    deadline_s = time.monotonic() + 20
    while int(shell(client, "web1", f"sync; {_COUNT}")) <= count:
        assert time.monotonic() < deadline_s
    assert int(shell(client, "web1", _CHECK_LOG)) > count


def revert_and_kill(service: PrivateService, delay_s: float, disk_only: bool) -> str:
    with service.client() as client:
        goal = next(one for one in client.snapshots.list() if one.kind == "memory")
        shell(client, "web1", "echo now > /root/now; sync")
        operation = client.instances.revert("web1", goal.id, disk_only=disk_only)
    ended = killed(service, operation, delay_s)
    with service.client() as client:
        is_back = shell(client, "web1", "[ -e /root/now ] && echo now || echo then")
        assert is_back == ("then" if ended.state is OperationState.SUCCEEDED else "now"), ended
        assert client.instances.get("web1").state == "running"
        assert client.host.repair(remove=False) == []
    return f"revert {delay_s:g}: {ended.state}"
