from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from insula.node.hypervisor.driver import EndReason
from insula.node.hypervisor.qemu.record import Record, load, reason_of, save, unseen_end

RECORD = Record("ins_1", 4711, 99, 1.5)


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    assert load(tmp_path) is None
    save(tmp_path, RECORD)
    assert load(tmp_path) == RECORD
    ended = replace(RECORD, is_commanded=True, end_reason=EndReason.COMMANDED)
    save(tmp_path, ended)
    assert load(tmp_path) == ended


@pytest.mark.parametrize("text", ["", '{"spec_id": "x"', "[]", '{"end_reason": "bored"}', '{"end_reason": null}'])
def test_a_damaged_record_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "machine.json").write_text(text)
    assert load(tmp_path) is None


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("qemu_system_shutdown_request reason=6\n", EndReason.GUEST_SHUTDOWN),
        ("qemu_system_shutdown_request reason=2\n", EndReason.COMMANDED),
        ("qemu_system_shutdown_request reason=4\nterminating on signal 15 from pid 1\n", EndReason.CRASHED),
        ("qemu_system_shutdown_request reason=8\n", EndReason.CRASHED),
        ("", EndReason.CRASHED),
    ],
)
def test_an_unseen_end_is_read_from_the_log(tmp_path: Path, log: str, reason: EndReason) -> None:
    (tmp_path / "qemu.log").write_text(log)
    assert unseen_end(tmp_path, RECORD) is reason


def test_what_is_recorded_weighs_more_than_the_log(tmp_path: Path) -> None:
    assert unseen_end(tmp_path, RECORD) is EndReason.CRASHED
    assert unseen_end(tmp_path, replace(RECORD, is_commanded=True)) is EndReason.COMMANDED
    assert unseen_end(tmp_path, replace(RECORD, end_reason=EndReason.GUEST_SHUTDOWN)) is EndReason.GUEST_SHUTDOWN


def test_words_of_qmp_are_understood() -> None:
    assert reason_of("guest-shutdown") is EndReason.GUEST_SHUTDOWN
    assert reason_of("host-qmp-quit") is EndReason.COMMANDED
    assert {reason_of(word) for word in ("guest-panic", "host-signal", "host-error", "none")} == {EndReason.CRASHED}
