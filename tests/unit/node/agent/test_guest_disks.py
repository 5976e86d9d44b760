"""What becomes of a guest's answers about its disks, be they true, odd or missing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from insula.base.errors import Conflict, GuestFailure
from insula.node.agent import guest_disks
from insula.node.agent.guest import GuestAgent
from insula.protocol.node import ExecResult


@pytest.fixture
def agent(tmp_path: Path) -> GuestAgent:
    return GuestAgent(tmp_path / "agent.sock", "web1")


def let_it_say(patch: pytest.MonkeyPatch, text: str, exit_code: int = 0) -> None:
    async def execute(*_: object) -> ExecResult:
        await asyncio.sleep(0)
        return ExecResult(exit_code, text.encode(), b"sh: no such thing\n" if exit_code else b"")

    patch.setattr(guest_disks, "execute", execute)


@pytest.mark.parametrize(
    ("said", "grown", "todo"),
    [
        ("grown /srv\n", ("/srv",), ""),
        ("grown /srv\ngrown /var\n", ("/srv", "/var"), ""),
        ("unmounted\n", (), "Nothing is mounted from it"),
        ("parted\n", (), "It has partitions"),
        ("missing\n", (), "does not know the disk"),
        ("unseen\n", (), "does not see the new size"),
        ("failed resize2fs: Bad magic\n", (), "did not grow it: resize2fs: Bad magic"),
        ("grown /srv\nfailed xfs_growfs: not found\n", ("/srv",), "xfs_growfs: not found"),
        ("nonsense\n\0\n", (), ""),
    ],
)
async def test_growth_is_told(
    agent: GuestAgent, monkeypatch: pytest.MonkeyPatch, said: str, grown: tuple[str, ...], todo: str
) -> None:
    let_it_say(monkeypatch, said)
    report = await guest_disks.grow_file_systems(agent, "disk", 5)
    assert report.grown == grown
    assert todo in report.todo
    assert bool(todo) == bool(report.todo)


async def test_a_guest_that_cannot_be_asked_is_no_failure(agent: GuestAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    let_it_say(monkeypatch, "", exit_code=127)
    report = await guest_disks.grow_file_systems(agent, "disk", 5)
    assert report.grown == ()
    assert "resize2fs for ext4" in report.todo
    monkeypatch.undo()
    assert "could not be asked" in (await guest_disks.grow_file_systems(agent, "disk", 5)).todo


async def test_what_is_used_is_named(agent: GuestAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    let_it_say(monkeypatch, "mounted /srv\nswap /dev/sda2\n")
    with pytest.raises(Conflict) as refused:
        await guest_disks.check_unused(agent, "vol_1", "data", "web1")
    assert (refused.value.code, refused.value.why) == ("volume-in-use", "mounted /srv; swap /dev/sda2")
    for said in ("", "missing\n"):
        let_it_say(monkeypatch, said)
        await guest_disks.check_unused(agent, "vol_1", "data", "web1")


async def test_an_unanswered_question_is_no_permission(agent: GuestAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    let_it_say(monkeypatch, "", exit_code=2)
    with pytest.raises(GuestFailure, match="could not be asked"):
        await guest_disks.check_unused(agent, "vol_1", "data", "web1")
