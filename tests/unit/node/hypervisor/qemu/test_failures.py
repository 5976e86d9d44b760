from __future__ import annotations

from pathlib import Path

import pytest

from insula.base.errors import DiskFull
from insula.node.hypervisor.qemu.failures import start_failure


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("qemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory", "host-out-of-memory"),
        ('qemu-system-x86_64: -blockdev {...}: Failed to get "write" lock', "disk-locked"),
        ("Could not access KVM kernel module: Permission denied", "kvm-unusable"),
        ("bwrap: setting up uid map: Permission denied", "no-user-namespaces"),
        ("bwrap: Can't find source path /srv/x: No such file or directory", "jail-failed"),
        ("qemu-system-x86_64: -blockdev {...}: Image is not in qcow2 format", "disk-damaged"),
        ("qemu-system-x86_64: -blockdev {...}: Could not open 'disk.qcow2': Permission denied", "file-closed"),
        ("qemu-system-x86_64: -sandbox x: Property 'y' not found", "qemu-too-old"),
        ("something never seen before", "start-failed"),
    ],
)
def test_frequent_causes_are_named(tmp_path: Path, line: str, code: str) -> None:
    (tmp_path / "qemu.log").write_text(f"qemu_system_shutdown_request reason=2\n{line}\n")
    error = start_failure(tmp_path, "web1", "it ended at once")
    assert error.code == code
    assert line in error.why
    assert "shutdown_request" not in error.why
    assert error.todo


def test_a_full_disk_is_its_own_error(tmp_path: Path) -> None:
    (tmp_path / "qemu.log").write_text("qemu: write failed: No space left on device\n")
    assert isinstance(start_failure(tmp_path, "web1", "it ended"), DiskFull)


def test_only_the_last_lines_are_told_and_silence_is_said(tmp_path: Path) -> None:
    assert "printed nothing" in start_failure(tmp_path, "web1", "it ended").why
    (tmp_path / "qemu.log").write_text("".join(f"line {number}\n" for number in range(10_000)))
    why = start_failure(tmp_path, "web1", "it ended").why
    assert "line 9999" in why
    assert "line 9980" not in why
