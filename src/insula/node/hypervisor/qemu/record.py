"""What the driver notes about a machine in its folder, so that the next service finds and understands it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from insula.base.files import write_atomic
from insula.node.hypervisor.driver import EndReason

QEMU_LOG = "qemu.log"

# QEMU's ShutdownCause as its trace event prints it (qapi/run-state.json; the order is part of QEMU's interface).
_GUEST_SHUTDOWN = 6
_COMMANDED = frozenset({2})  # the QMP command `quit`
_CAUSE = re.compile(rb"qemu_system_shutdown_request reason=(\d+)")
# QMP's words for the same (ShutdownCause).
_REASONS: Mapping[str, EndReason] = {
    "guest-shutdown": EndReason.GUEST_SHUTDOWN,
    "host-qmp-quit": EndReason.COMMANDED,
}


@dataclass(frozen=True)
class Record:
    """`pid` and `start_ticks` name QEMU's process beyond doubt. `end_reason` is set once the end is known.

    `is_commanded` is written before the machine is killed: an end that nobody saw is then still the commanded one.
    """

    spec_id: str
    pid: int
    start_ticks: int
    started_at_s: float
    is_commanded: bool = False
    end_reason: EndReason | None = None


def load(folder: Path) -> Record | None:
    """The record in `folder`; None when there is none or it is damaged: the process itself tells the rest."""
    try:
        data = json.loads((folder / "machine.json").read_bytes())
        reason = data.pop("end_reason")
        return Record(**data, end_reason=EndReason(reason) if reason else None)
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError, AttributeError):
        return None


def save(folder: Path, record: Record) -> None:
    write_atomic(folder / "machine.json", json.dumps(asdict(record)).encode())


def reason_of(word: str) -> EndReason:
    """What QMP's word for a shutdown's cause means to us. Signals, panics and host errors are crashes."""
    return _REASONS.get(word, EndReason.CRASHED)


def unseen_end(folder: Path, record: Record) -> EndReason:
    """Why a machine ended that nobody watched: from the record, else from the causes that QEMU wrote to its log.

    A machine that vanished without a word (kill -9, power loss) has crashed.
    """
    if record.end_reason is not None:
        return record.end_reason
    if record.is_commanded:
        return EndReason.COMMANDED
    try:
        causes = [int(cause) for cause in _CAUSE.findall((folder / QEMU_LOG).read_bytes())]
    except OSError:
        causes = []
    if _GUEST_SHUTDOWN in causes:
        return EndReason.GUEST_SHUTDOWN
    return EndReason.COMMANDED if _COMMANDED & set(causes) else EndReason.CRASHED
