"""Sandboxes as a program sees them, and what is left of them afterwards: nothing."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from insula.base.errors import Conflict, GuestFailure, InsulaError, InvalidInput, NotFound, ProgramFailed, Unavailable
from insula.client import Client
from insula.domain.operation import Operation
from tests.private_service import PrivateService

SMALL: dict[str, Any] = {"image": "tiny", "plan": "micro-1"}


def names(client: Client) -> list[str]:
    return [each.name for each in client.instances.list()]


def test_it_is_there_in_the_block_and_gone_after_it(client: Client) -> None:
    with client.sandbox(**SMALL, tags=["ci"]) as vm:
        found = client.instances.get(vm.name)
        assert vm.name.startswith("sandbox-")
        assert (found.state, found.tags, found.lease_s) == ("running", ("ci", "sandbox"), 60)
    assert names(client) == []
    vm.close()


def test_programs_and_files(client: Client, tmp_path: Path) -> None:
    with client.sandbox(**SMALL) as vm:
        assert vm.run("uname -n").stdout == f"{vm.name}\n"
        assert vm.run(["echo", "a  b", "$HOME"]).stdout == "a  b $HOME\n"
        assert vm.run(["cat"], stdin="ä").stdout == "ä"
        assert vm.run("cat /nope").exit_code == 1
        with pytest.raises(ProgramFailed, match="exit code 1") as failed:
            vm.run("cat /nope", check=True)
        assert failed.value.exit_code == 1
        assert "/nope" in failed.value.stderr
        assert failed.value.code == "program-failed"
        vm.write("/tmp/text", "grüße")
        assert vm.read("/tmp/text") == "grüße".encode()
        (tmp_path / "here").write_bytes(bytes(range(256)) * 1000)
        vm.upload(tmp_path / "here", "/tmp/there")
        vm.download("/tmp/there", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == (tmp_path / "here").read_bytes()
        with pytest.raises(InsulaError, match="No such file"):
            vm.download("/tmp/nothing", tmp_path / "nothing")
        assert not (tmp_path / "nothing").exists()


def test_a_fork_goes_on_from_here_and_ends_by_itself(client: Client) -> None:
    with client.sandbox(**SMALL, env={"STAGE": "test"}, lease_s=30) as vm:
        vm.write("/root/text", "before")
        with vm.fork() as child:
            assert child.name != vm.name
            found = client.instances.get(child.name)
            assert (found.state, found.tags, found.lease_s) == ("running", ("sandbox",), 30)
            assert child.read("/root/text") == b"before"
            assert child.run(["env"]).stdout == "STAGE=test\n"
            child.write("/root/text", "after")
            with child.fork() as grandchild:
                assert grandchild.read("/root/text") == b"after"
            assert vm.read("/root/text") == b"before"
            assert sorted(names(client)) == sorted([vm.name, child.name])
        assert names(client) == [vm.name]
        client.instances.lease(vm.name, None)
        with pytest.raises(Conflict, match="no lease"):
            vm.fork()
        assert names(client) == [vm.name]
    with pytest.raises(NotFound, match="gone"):
        vm.fork()
    assert names(client) == []


def test_its_surroundings_hold_for_every_program(client: Client) -> None:
    with client.sandbox(**SMALL, env={"STAGE": "test"}) as vm:
        assert vm.run(["env"], env={"MORE": "a b"}).stdout.splitlines() == ["STAGE=test", "MORE=a b"]
        assert vm.run(["env"]).stdout == "STAGE=test\n"
        with pytest.raises(InvalidInput, match="no name of a variable"):
            vm.run("true", env={"A=B": "c"})


def test_ways_in(client: Client, service: PrivateService) -> None:
    with client.sandbox(**SMALL, forwards=[8000]) as vm:
        port = next(each.host_port for each in client.instances.get(vm.name).forwards if each.guest_port == 8000)
        assert vm.url(8000) == f"http://127.0.0.1:{port}"
        with pytest.raises(InvalidInput) as refused:
            vm.url(9000)
        assert "forwards=[9000]" in refused.value.todo
        assert vm.ssh_command.startswith(f"ssh -p {client.instances.get(vm.name).ssh_port} ")
        assert str(service.home / "client" / "id_ed25519") in vm.ssh_command


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_whatever_ends_the_block_it_is_gone(client: Client, error: type[BaseException]) -> None:
    with pytest.raises(error), client.sandbox(**SMALL):
        raise error
    assert names(client) == []


def test_many_at_once_from_threads_with_one_client(client: Client) -> None:
    def work(number: int) -> str:
        with client.sandbox(**SMALL) as vm:
            vm.write("/tmp/number", str(number))
            return vm.run("cat /tmp/number").stdout

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(16))) == [str(number) for number in range(16)]
    assert names(client) == []


def test_one_that_cannot_be_made_says_why(client: Client) -> None:
    with pytest.raises(InvalidInput, match="no image 'nix'"):
        client.sandbox(image="nix")
    with pytest.raises(InvalidInput, match="lease_s"):
        client.sandbox(**SMALL, lease_s=1)
    assert names(client) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, GuestFailure("The guest did not answer")])
def test_nothing_is_left_of_one_whose_creation_is_broken_off(
    client: Client, monkeypatch: pytest.MonkeyPatch, error: Any
) -> None:
    wait = client.operations.wait

    def broken(operation_id: str) -> Operation:
        monkeypatch.setattr(client.operations, "wait", wait)
        if error is not KeyboardInterrupt:
            wait(operation_id)
        raise error

    monkeypatch.setattr(client.operations, "wait", broken)
    with pytest.raises((KeyboardInterrupt, GuestFailure)):
        client.sandbox(**SMALL)
    assert names(client) == []


def test_nothing_is_left_of_one_whose_acceptance_was_not_heard(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    create = client.instances.create

    def unheard(*names: Any, **wish: Any) -> Operation:
        create(*names, **wish)
        raise Unavailable("The connection broke")

    monkeypatch.setattr(client.instances, "create", unheard)
    with pytest.raises(Unavailable):
        client.sandbox(**SMALL)
    assert names(client) == []


def test_it_is_told_who_deleted_it(client: Client) -> None:
    with client.sandbox(**SMALL) as vm:
        client.operations.wait(client.instances.delete(vm.name).id)
        for use in (lambda: vm.run("true"), lambda: vm.read("/etc/hostname"), lambda: vm.ssh_command):
            with pytest.raises(NotFound, match=r"is gone. It was deleted by local:") as gone:
                use()
            assert gone.value.code == "sandbox-gone"


def test_one_that_is_busy_is_deleted_when_it_is_idle(client: Client) -> None:
    with client.sandbox(**SMALL) as vm:
        client.instances.reboot(vm.name, graceful_s=0)
    assert names(client) == []


def test_what_somebody_protected_stays_and_that_is_told(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), client.sandbox(**SMALL) as vm:
        client.instances.lease(vm.name, None)
        client.instances.protect(vm.name)
        with pytest.raises(Conflict):
            client.instances.lease(vm.name, 60)
    assert names(client) == [vm.name]
    assert "is protected" in caplog.text
    client.instances.protect(vm.name, False)
