"""The doctor's judgement of what it is told about a host."""

from __future__ import annotations

from pathlib import Path

import pytest

from insula.node.agent import doctor
from insula.node.agent.host import available_memory_mib, disk_usage, memory_mib
from insula.node.network.none import NoNetwork

_GIB = 1024**3


@pytest.mark.parametrize(("available", "verdict"), [(100, "problem"), (4000, "ok")])
def test_memory(available: int, verdict: str) -> None:
    check = doctor.memory_check(8000, available)
    assert check.verdict == verdict
    assert f"{available} MiB of 8000 MiB" in check.detail
    assert bool(check.todo) == (verdict == "problem")


@pytest.mark.parametrize(("free_gib", "verdict"), [(0.5, "problem"), (3, "note"), (50, "ok")])
def test_disk(free_gib: float, verdict: str) -> None:
    usage = (100 * _GIB, 0, int(free_gib * _GIB))
    assert doctor.disk_check(Path("/srv"), usage).verdict == verdict


def test_a_missing_program_is_named_with_its_package() -> None:
    check = doctor.program_check("qemu-system-nothing")
    assert check.verdict == "problem"
    assert "apt-get install" in check.todo


def test_the_network_tells_what_it_lacks() -> None:
    checks = doctor.network_checks(NoNetwork())
    assert [check.verdict for check in checks] == ["problem", "note"]


def test_user_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "subuid"
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("os.getuid", lambda: 1000)
    assert doctor.subuid_check("ann", table).verdict == "problem"
    table.write_text("bob:100000:65536\n")
    assert "--add-subuids" in doctor.subuid_check("ann", table).todo
    table.write_text("ann:100000:65536\n")
    assert doctor.subuid_check("ann", table).verdict == "ok"
    table.write_text("1000:100000:65536\n")
    assert doctor.subuid_check("ann", table).verdict == "ok"


def test_memory_is_read_from_the_kernel(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       2048000 kB\nMemFree: 1 kB\nMemAvailable:    1024000 kB\n")
    assert memory_mib(meminfo) <= 2000
    assert available_memory_mib(meminfo) == 1000


def test_a_folder_that_does_not_exist_yet_has_its_parents_space(tmp_path: Path) -> None:
    assert disk_usage(tmp_path / "not" / "there")[0] == disk_usage(tmp_path)[0]
