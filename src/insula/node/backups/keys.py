"""The keys of a repository: a master key, and the ways to get at it.

The master key is random and never changes. It is stored encrypted, once for each way to unlock it: a recovery key that
people print and put away, or a passphrase. A way is added or taken off without touching a backup. Sources: RFC 9106
(Argon2), NIST SP 800-38D.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from dataclasses import dataclass
from enum import StrEnum

import msgspec
from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from insula.base.errors import DataCorrupt, Forbidden, InvalidInput
from insula.node.backups.sealing import KEY_BYTES, derived

_RECOVERY_BYTES = 20
_GROUP = 4
_CHECK_BYTES = 5
_SALT_BYTES, _NONCE_BYTES = 16, 12
_PASSES, _MEMORY_KIB, _LANES = 3, 64 << 10, 4


class Way(StrEnum):
    RECOVERY_KEY = "recovery-key"
    PASSPHRASE = "passphrase"  # noqa: S105 - a kind of secret, not one


@dataclass(frozen=True)
class Lock:
    """One way to the master key, as it is stored: what is secret in it is encrypted."""

    way: Way
    salt: bytes
    nonce: bytes
    wrapped: bytes


# Made while the module is imported: msgspec crashes when two threads look at a type for the first time at once.
_DECODER = msgspec.json.Decoder(Lock)


def new_recovery_key() -> str:
    """A random key in a form that can be read out and typed: ten groups of four letters and digits."""
    return _written(secrets.token_bytes(_RECOVERY_BYTES))


def lock(master_key: bytes, secret: str, way: Way) -> bytes:
    """What has to be stored so that `secret` unlocks the master key. Raises InvalidInput for no recovery key."""
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    wrapped = AESGCM(_key_of(secret, way, salt)).encrypt(nonce, master_key, way.encode())
    return msgspec.json.encode(Lock(way, salt, nonce, wrapped))


def unlock(stored: bytes, secret: str) -> bytes:
    """The master key. Raises Forbidden when the secret does not fit, DataCorrupt when what was stored is damaged."""
    try:
        found = _DECODER.decode(stored)
    except (msgspec.DecodeError, ValueError) as error:
        raise DataCorrupt(
            "A key of the backup store is damaged",
            why=str(error),
            todo="Use another key of the store, if there is one",
            code="backup-key-damaged",
        ) from error
    try:
        return AESGCM(_key_of(secret, found.way, found.salt)).decrypt(found.nonce, found.wrapped, found.way.encode())
    except (InvalidTag, InvalidInput) as error:
        raise Forbidden(
            "This key does not open the backup store",
            why=f"It is not the {found.way.replace('-', ' ')} that the store knows",
            todo="Look for the key that was printed when the store was made",
            code="wrong-backup-key",
        ) from error


def _key_of(secret: str, way: Way, salt: bytes) -> bytes:
    if way is Way.RECOVERY_KEY:
        return derived(hashlib.sha256(salt + _read(secret)).digest(), b"recovery key")
    return hash_secret_raw(secret.encode(), salt, _PASSES, _MEMORY_KIB, _LANES, KEY_BYTES, Type.ID)


def _written(raw: bytes) -> str:
    text = base64.b32encode(raw + _check(raw)).decode()
    return "-".join(text[at : at + _GROUP] for at in range(0, len(text), _GROUP))


def _read(text: str) -> bytes:
    """Its bytes; how it is grouped and whether letters are large does not matter. Raises InvalidInput."""
    plain = "".join(text.split()).replace("-", "").upper().replace("0", "O").replace("1", "I").replace("8", "B")
    try:
        raw = base64.b32decode(plain)
    except ValueError:
        raw = b""
    if len(raw) != _RECOVERY_BYTES + _CHECK_BYTES or _check(raw[:_RECOVERY_BYTES]) != raw[_RECOVERY_BYTES:]:
        raise InvalidInput(
            "This is no recovery key",
            why="It has ten groups of four letters and digits, the last of which check the others",
            todo="Look for a mistyped letter",
            code="invalid-recovery-key",
        )
    return raw[:_RECOVERY_BYTES]


def _check(raw: bytes) -> bytes:
    return hashlib.sha256(b"insula recovery key" + raw).digest()[:_CHECK_BYTES]
