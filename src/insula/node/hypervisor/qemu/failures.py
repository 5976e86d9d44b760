"""Why QEMU did not start, in words that help: from the last lines that it and its jail wrote."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from insula.base.errors import DiskFull, HostFailure

_TAIL_LINES = 12
_NOISE = re.compile(r"qemu_system_shutdown_request|terminating on signal")

# Pattern in the log → the error's code and what to do. The first that matches explains the failure.
_CAUSES: Sequence[tuple[re.Pattern[str], str, str]] = (
    (
        re.compile(r"Cannot allocate memory|cannot set up guest memory|Out of memory", re.I),
        "host-out-of-memory",
        "Stop other instances or choose a smaller plan; `insula capacity` shows what is left",
    ),
    (
        re.compile(r"load of migration failed|error while loading state|Machine type received", re.I),
        "saved-memory-unusable",
        "QEMU or the processor has changed since it was saved. Boot the instance from its disk: `insula start --cold`, "
        "which loses what was in its memory",
    ),
    (
        re.compile(r"Failed to get .*lock|is another process using the image", re.I),
        "disk-locked",
        "Another process has the disk open; `insula doctor --repair` finds processes that no record owns",
    ),
    (
        re.compile(r"Could not access KVM kernel module|failed to initialize kvm|KVM_|/dev/kvm", re.I),
        "kvm-unusable",
        "Let QEMU open /dev/kvm (group kvm), or set INSULA_ACCELERATOR=tcg; `insula doctor` proves KVM",
    ),
    (
        re.compile(r"uid map|creating new namespace|No permissions to create|RTM_NEWADDR|userns", re.I),
        "no-user-namespaces",
        "This host forbids user namespaces to bubblewrap; `insula doctor` says how to allow them",
    ),
    (
        re.compile(r"Can't mount proc|Can't bind mount|Can't find source path|Can't create file|Can't chdir", re.I),
        "jail-failed",
        "A file of the instance is missing or out of reach; `insula doctor` checks the folder",
    ),
    (
        re.compile(r"not in qcow2 format|Could not open backing|corrupt|Image is not in|Invalid argument.*qcow", re.I),
        "disk-damaged",
        "The instance's disk or its image is damaged; rebuild the instance or restore a backup",
    ),
    (
        re.compile(r"Permission denied", re.I),
        "file-closed",
        "The machine's user may not open one of its files; `insula doctor` checks owners and folders",
    ),
    (
        re.compile(r"does not support|is not a valid|Property .* not found|Parameter .* expects|invalid option", re.I),
        "qemu-too-old",
        "This QEMU lacks something that Insula uses; install QEMU 7.2 or newer",
    ),
)


def start_failure(folder: Path, name: str, what: str) -> HostFailure:
    """The error for a start that failed, from `qemu.log` in `folder`."""
    lines = [line for line in log_tail(folder / "qemu.log").splitlines() if not _NOISE.search(line)][-_TAIL_LINES:]
    said = "\n".join(lines)
    if "No space left on device" in said:
        return DiskFull(
            f"The machine of {name} did not start: the disk is full",
            why=said,
            todo="Free space on the disk that holds Insula's folder; `insula doctor` shows how much is left",
        )
    code, todo = "start-failed", "Look at qemu.log in the instance's folder, and at `insula doctor`"
    for pattern, known_code, known_todo in _CAUSES:
        if pattern.search(said):
            code, todo = known_code, known_todo
            break
    return HostFailure(
        f"The machine of {name} did not start: {what}",
        why=f"QEMU printed: {said}" if said else "QEMU printed nothing",
        todo=todo,
        code=code,
    )


def log_tail(log: Path, size_bytes: int = 8192) -> str:
    """The end of a log; empty when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - size_bytes))
            return file.read(size_bytes).decode("utf-8", "replace")
    except OSError:
        return ""
