"""Signing keys: what clients use that sign requests and never send a secret.

Every token has one. A signature can be checked only by who knows the secret, so no hash of it would do; instead it is
derived from the installation's own secret and the token's id (RFC 2104). Nothing is stored with a token, and a key ends
with its token. Whoever has the installation's secret can sign for everybody: it lies in a file of the service alone.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from insula.base.errors import DataCorrupt
from insula.base.files import write_atomic
from insula.domain.ids import Kind, is_id

_PREFIX = "IK"
_MASTER_BYTES = 32
_SECRET_BYTES = 30  # 240 bits, which are 40 characters of base 64


@dataclass(frozen=True)
class SigningKey:
    """A key's public name, and its secret."""

    id: str
    secret: str = field(repr=False)


class SigningKeys:
    """All keys of an installation, whose own secret is `master`."""

    def __init__(self, master: bytes) -> None:
        self._master = master

    @classmethod
    def open(cls, path: Path) -> SigningKeys:
        """Those whose master is in a file, which is made if there is none. Raises DataCorrupt, DiskFull and OSError."""
        if not path.exists():
            write_atomic(path, secrets.token_bytes(_MASTER_BYTES))
        master = path.read_bytes()
        if len(master) != _MASTER_BYTES:
            raise DataCorrupt(
                f"{path} holds no secret of an installation",
                why=f"It should have {_MASTER_BYTES} bytes and has {len(master)}",
                todo="Restore it from a backup; if there is none delete it, which makes all signing keys invalid",
                code="signing-secret-damaged",
            )
        return cls(master)

    def of(self, token_id: str) -> SigningKey:
        """The key of a token."""
        key_id = _PREFIX + token_id.rpartition("_")[2].upper()
        return SigningKey(key_id, base64.urlsafe_b64encode(self.derived(f"key {key_id}")[:_SECRET_BYTES]).decode())

    def derived(self, purpose: str) -> bytes:
        """32 bytes that are always the same for a purpose, and tell nothing of those for another."""
        return hmac.digest(self._master, purpose.encode(), hashlib.sha256)


def token_of(key_id: str) -> str:
    """The id of the token that a key belongs to, empty for what is no key's id."""
    token_id = f"{Kind.TOKEN.value}_{key_id.removeprefix(_PREFIX).lower()}"
    return token_id if key_id.startswith(_PREFIX) and is_id(token_id, Kind.TOKEN) else ""
