"""The service is killed with -9 while it forks a real machine: the parent goes on, and nothing is left."""

from __future__ import annotations

import time

import pytest

from insula.client import Client
from insula.domain.operation import OperationState
from tests.private_service import PrivateService

from .test_fork import _CHECK_LOG, _COUNT, _COUNTER

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]

_DELAYS_S = (0.03, 0.2, 0.4, 0.7, 1.6)
_ENDINGS = {OperationState.SUCCEEDED, OperationState.FAILED}


def shell(client: Client, instance: str, script: str) -> str:
    done = client.guest.execute(instance, ["/bin/sh", "-c", script], timeout_s=120)
    assert done.exit_code == 0, (done.stdout + done.stderr).decode()
    return done.stdout.decode().strip()


def uptime_s(client: Client) -> float:
    return float(shell(client, "web1", "cat /proc/uptime").split()[0])


def test_a_killed_service_leaves_the_parent_running_and_nothing_else() -> None:
    seen: list[str] = []
    with PrivateService("qemu", {"INSULA_ACCELERATOR": "tcg"}, images=("tiny",)) as service:
        with service.client() as client:
            created = client.instances.create("web1", image="tiny", plan="micro-1")
            assert client.operations.wait(created.id, timeout_s=300).state is OperationState.SUCCEEDED
            shell(client, "web1", _COUNTER)
        for delay_s in _DELAYS_S:
            seen.append(fork_and_kill(service, delay_s))
        with service.client() as client:
            forks = service.home / "node" / "forks"
            assert {path.name for folder in forks.iterdir() for path in folder.iterdir()} <= {
                "disk.qcow2",
                "fork.json",
                "uid",
            }
            shell(client, "web1", "kill $(cat /run/counter.pid); sync")
            count = shell(client, "web1", _CHECK_LOG)
            client.operations.wait(client.instances.stop("web1", graceful_s=0).id)
            client.operations.wait(client.instances.start("web1").id)
            assert shell(client, "web1", _CHECK_LOG) == count
    print(seen)  # noqa: T201 - how each fork ended, seen with -s


def fork_and_kill(service: PrivateService, delay_s: float) -> str:
    """Fork, kill the service after a while, start it again; how the fork ended."""
    with service.client() as client:
        up_s = uptime_s(client)
        count = int(shell(client, "web1", _COUNT))
        operation = client.instances.fork("web1", count=2)
    time.sleep(delay_s)
    service.kill()
    service.start()
    with service.client() as client:
        deadline_s = time.monotonic() + 120
        while (ended := client.operations.get(operation.id)).state not in _ENDINGS:
            assert time.monotonic() < deadline_s, ended
            time.sleep(0.1)
        assert uptime_s(client) > up_s
        assert int(shell(client, "web1", _COUNT)) > count
        assert int(shell(client, "web1", _CHECK_LOG)) > count
        children = [one.name for one in client.instances.list() if one.name != "web1"]
        assert client.instances.get("web1").state == "running"
        assert bool(children) is (ended.state is OperationState.SUCCEEDED), ended
        for name in children:
            assert shell(client, name, "hostname") == name
            assert int(shell(client, name, _CHECK_LOG)) > count
            client.operations.wait(client.instances.delete(name).id)
        assert client.host.repair(remove=False) == []
    return f"{delay_s:g}: {ended.state} {ended.error['code'] if ended.error else ''}"
