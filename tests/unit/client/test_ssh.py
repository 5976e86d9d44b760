"""Host keys learned through the agent, and the line that uses them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from insula.base import settings
from insula.base.errors import Conflict, GuestFailure
from insula.client import Client, known_hosts
from insula.client.ssh_line import arguments
from insula.domain.instance import Instance, InstanceState, PortForward, Resources
from insula.protocol.node import ExecResult

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKWAxDW"
BOOT = datetime(2026, 1, 2, tzinfo=UTC)


class Guest:
    """Answers the question for host keys, and counts how often it was asked."""

    def __init__(self, output: bytes | None) -> None:
        self.output = output
        self.asked = 0

    def execute(self, instance: str, argv: list[str], **_: Any) -> ExecResult:
        self.asked += 1
        if self.output is None:
            raise GuestFailure("no agent")
        return ExecResult(0, self.output, b"")


class FakeClient:
    def __init__(self, output: bytes | None, home: Path = Path("/nonexistent")) -> None:
        self.guest = Guest(output)
        self.settings = settings.load({"INSULA_HOME": str(home)})


def client_of(fake: FakeClient) -> Client:
    return cast("Client", fake)


@pytest.fixture
def instance() -> Instance:
    return Instance(
        id="ins_1", project="default", name="web1", state=InstanceState.RUNNING, image="tiny", plan="micro-1",
        resources=Resources(1, 256, 5, 25), hostname="web1", mac="52:54:00:00:00:01", node="local", created_at=BOOT,
        updated_at=BOOT, forwards=(PortForward(22, 2201),), started_at=BOOT,
    )  # fmt: skip


def test_keys_are_asked_for_once_a_boot(tmp_path: Path, instance: Instance) -> None:
    fake = FakeClient(f"{KEY} root@web1\nnoise\nPublic key portion is:\n".encode())
    for _ in range(2):
        assert known_hosts.learn(client_of(fake), tmp_path, instance, "127.0.0.1", 2201)
    assert fake.guest.asked == 1
    assert known_hosts.file_in(tmp_path).read_text().startswith(f"[127.0.0.1]:2201 {KEY} ins_1@")
    fake.guest.output = b"ssh-ed25519 AAAAother root@web1\n"
    rebuilt = replace(instance, started_at=datetime(2026, 1, 3, tzinfo=UTC))
    assert known_hosts.learn(client_of(fake), tmp_path, rebuilt, "127.0.0.1", 2201)
    assert "AAAAother" in known_hosts.file_in(tmp_path).read_text()
    assert KEY not in known_hosts.file_in(tmp_path).read_text()


def test_a_port_that_changes_hands_forgets_the_instance_before(tmp_path: Path, instance: Instance) -> None:
    known_hosts.learn(client_of(FakeClient(KEY.encode())), tmp_path, instance, "127.0.0.1", 2201)
    other = replace(instance, id="ins_2")
    known_hosts.learn(client_of(FakeClient(b"ssh-ed25519 AAAAnew")), tmp_path, other, "127.0.0.1", 2201)
    assert "ins_1" not in known_hosts.file_in(tmp_path).read_text()


def test_a_deleted_instance_is_forgotten(tmp_path: Path, instance: Instance) -> None:
    known_hosts.forget(tmp_path, instance)
    known_hosts.learn(client_of(FakeClient(KEY.encode())), tmp_path, instance, "127.0.0.1", 2201)
    known_hosts.forget(tmp_path, instance)
    assert known_hosts.file_in(tmp_path).read_text() == ""


@pytest.mark.parametrize("output", [None, b"", b"-oProxyCommand=evil AAAA\n", b"ssh-ed25519\n"])
def test_without_keys_nothing_is_pinned_and_no_check_is_turned_off(
    tmp_path: Path, instance: Instance, output: bytes | None
) -> None:
    words = arguments(client_of(FakeClient(output, tmp_path)), instance)
    assert words == ["ssh", "-p", "2201", "root@127.0.0.1"]


def test_with_keys_the_check_is_strict(tmp_path: Path, instance: Instance) -> None:
    assert "StrictHostKeyChecking=yes" in arguments(client_of(FakeClient(KEY.encode(), tmp_path)), instance)


def test_a_stopped_instance_says_how_to_start_it(instance: Instance) -> None:
    with pytest.raises(Conflict) as caught:
        arguments(client_of(FakeClient(None)), replace(instance, state=InstanceState.STOPPED))
    assert "insula start web1" in caught.value.todo


def test_an_instance_without_a_port_for_ssh_says_what_else_there_is(instance: Instance) -> None:
    with pytest.raises(Conflict) as caught:
        arguments(client_of(FakeClient(None)), replace(instance, forwards=()))
    assert "insula exec web1" in caught.value.todo
