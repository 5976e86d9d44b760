"""A sandbox on real QEMU: made, used, forwarded, left by a caller that was killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from insula.base.errors import GuestFailure, ProgramFailed
from insula.client import Client
from tests.private_service import PrivateService

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]

LEASE_S = 20
LATE_S = 20.0

CALLER = f"""
import time
from insula.client import Client
with Client().sandbox(image="tiny", plan="entry-1", ssh_keys=(), lease_s={LEASE_S}) as vm:
    print(vm.name, flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def service() -> Iterator[PrivateService]:
    with PrivateService("qemu", {"INSULA_ACCELERATOR": "tcg"}, images=("tiny",)) as running:
        yield running


@pytest.fixture
def client(service: PrivateService, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    for name, value in service.environment.items():
        if name.startswith("INSULA_"):
            monkeypatch.setenv(name, value)
    with Client() as made:
        yield made


def test_it_runs_programs_keeps_files_and_is_gone(client: Client) -> None:
    began = time.monotonic()
    with client.sandbox(image="tiny", plan="entry-1", forwards=[8000], env={"STAGE": "a b"}, cwd="/tmp") as vm:
        made_s = time.monotonic() - began
        assert vm.run("echo $STAGE in $(pwd)").stdout == "a b in /tmp\n"
        run_s = time.monotonic() - began - made_s
        assert vm.run(["pwd"], cwd="/var").stdout == "/var\n"
        assert vm.run(["sh", "-c", "echo $MORE"], env={"MORE": "x"}).stdout == "x\n"
        assert vm.run("cat > in && wc -c < in", stdin=b"12345").stdout.strip() == "5"
        with pytest.raises(ProgramFailed, match="exit code 3"):
            vm.run("exit 3", check=True)
        assert vm.run("true", cwd="/nowhere").exit_code != 0
        with pytest.raises(GuestFailure, match="did not end within"):
            vm.run("sleep 60", timeout_s=2)
        content = bytes(range(256)) * 4096
        vm.write("/tmp/x", content)
        assert vm.read("/tmp/x") == content
        assert vm.run("wc -c < /tmp/x").stdout.strip() == str(len(content))
        logged_in = subprocess.run(
            ["sh", "-c", f"{vm.ssh_command} uname -n"], capture_output=True, text=True, timeout=60, check=False
        )
        assert logged_in.stdout.strip() == vm.name, logged_in.stderr
        used_s = time.monotonic() - began
    gone_s = time.monotonic() - began
    print(json.dumps({"made_s": made_s, "run_s": run_s, "used_s": used_s, "gone_s": gone_s}))  # noqa: T201 - the measurements
    assert client.instances.list() == []


def test_a_caller_that_was_killed_leaves_no_machine(client: Client, service: PrivateService) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CALLER], env=service.environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        process.kill()
    killed = time.monotonic()
    assert client.instances.get(name).state == "running"
    while client.instances.list():
        assert time.monotonic() - killed < LEASE_S + LATE_S
        time.sleep(0.2)
    print(json.dumps({"gone_after_s": time.monotonic() - killed}))  # noqa: T201 - as above
    assert list((service.home / "node" / "instances").iterdir()) == []
