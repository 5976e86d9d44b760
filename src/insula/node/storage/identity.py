"""What no two guests share and no guest has to make for itself: the host makes it with the seed."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from insula.node.storage.host_key import HostKey, new_host_key


@dataclass(frozen=True)
class Identity:
    """The key by which a guest's SSH server is known, and its machine-id: 32 hexadecimal digits."""

    host_key: HostKey
    machine_id: str


def new_identity() -> Identity:
    """One that nobody has had before."""
    return Identity(new_host_key(), secrets.token_hex(16))
