"""Backup stores, and what is known of the backups in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class StoreKind(StrEnum):
    """What a backup store lies in."""

    FOLDER = "folder"  # another disk, or a file server that is mounted
    S3 = "s3"
    SSH = "ssh"


@dataclass(frozen=True)
class StorePlace:
    """Where a backup store is; nothing of it is secret.

    `path` is the folder, or the prefix in the `bucket`. `endpoint` is empty for Amazon's own. `host_key` is the other
    machine's, as in known_hosts without the name.
    """

    kind: StoreKind
    path: str = ""
    endpoint: str = ""
    bucket: str = ""
    region: str = "us-east-1"
    host: str = ""
    port: int = 22
    user: str = ""
    host_key: str = ""


@dataclass(frozen=True)
class Drill:
    """A restore that was tried: it booted without a network, the agent answered, and the command ended with 0.

    `problem` says what failed. `output` and `console` are the last of what the command and the guest printed.
    """

    at: datetime
    passed: bool
    took_ms: int
    command: str = ""
    exit_code: int | None = None
    output: str = ""
    console: str = ""
    problem: str = ""
