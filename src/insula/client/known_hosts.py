"""Host keys of instances, learned through the guest agent, so that SSH never has to trust the first answer.

The file lies in `INSULA_HOME/client/known_hosts`. Each of its lines ends in a comment `instance-id@boot`, by which we
see whether it still holds: a new boot may be a rebuilt system with other keys.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from insula.base.errors import InsulaError
from insula.base.files import write_atomic
from insula.domain.instance import Instance

if TYPE_CHECKING:
    from insula.client import Client

# OpenSSH keeps its public keys in files; dropbear only prints them.
_PRINT_KEYS = (
    "cat /etc/ssh/ssh_host_*_key.pub 2>/dev/null; "
    "for key in /etc/dropbear/dropbear_*_host_key; do [ -e $key ] && dropbearkey -y -f $key; done 2>/dev/null; true"
)
_KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")
_EXEC_TIMEOUT_S = 60.0


def file_in(home: Path) -> Path:
    return home / "client" / "known_hosts"


def learn(client: Client, home: Path, instance: Instance, address: str, port: int) -> bool:
    """Make sure the file holds this boot's keys for `address:port`. False when the guest cannot be asked for them."""
    host = f"[{address}]:{port}" if port != 22 else address
    mark = f"{instance.id}@{instance.started_at.isoformat() if instance.started_at else ''}"
    path = file_in(home)
    if any(line.startswith(f"{host} ") and line.endswith(f" {mark}") for line in _lines(path)):
        return True
    try:
        result = client.guest.execute(instance.id, ["/bin/sh", "-c", _PRINT_KEYS], timeout_s=_EXEC_TIMEOUT_S)
    except InsulaError:
        # No agent in a foreign image: ssh itself then asks the person, as it does for any unknown host.
        return False
    keys = _public_keys(result.stdout.decode("utf-8", "replace"))
    if not keys:
        return False
    with _changing(path) as lines:
        # The port may have been another instance's before, and the instance may have had other keys.
        kept = [line for line in lines if not line.startswith(f"{host} ") and f" {instance.id}@" not in line]
        lines[:] = [*kept, *(f"{host} {kind} {key} {mark}" for kind, key in keys)]
    return True


def forget(home: Path, instance: Instance) -> None:
    """Drop what we know of an instance that is gone or rebuilt. May be repeated."""
    path = file_in(home)
    if any(f" {instance.id}@" in line for line in _lines(path)):
        with _changing(path) as lines:
            lines[:] = [line for line in lines if f" {instance.id}@" not in line]


def _public_keys(text: str) -> Sequence[tuple[str, str]]:
    fields = [line.split() for line in text.splitlines()]
    return [(parts[0], parts[1]) for parts in fields if len(parts) >= 2 and parts[0] in _KINDS]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return []


@contextmanager
def _changing(path: Path) -> Iterator[list[str]]:
    """The file's lines to change in place; two commands at once do not lose each other's."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(path.with_name("known_hosts.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lines = _lines(path)
        yield lines
        write_atomic(path, "".join(f"{line}\n" for line in lines).encode())
    finally:
        os.close(lock)
