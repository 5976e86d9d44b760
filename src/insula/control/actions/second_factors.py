"""Second factors: codes that change every 30 s (TOTP, RFC 6238), and recovery codes for who lost what shows them.

The secret must be had to compare, so no hash of it would do; it is sealed with a key that is derived from the
installation's own secret and not in the database, so that a copy of the database gives no codes.
"""

from __future__ import annotations

import base64
import hmac
import os
import secrets
from datetime import datetime

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from insula.base.errors import DataCorrupt

STEP_S = 30
DIGITS = 6
RECOVERY_CODES = 10
_ISSUER = "Insula"
_SECRET_BYTES = 20  # what RFC 4226 recommends, section 4
_NONCE_BYTES = 12
_DRIFT_STEPS = (0, -1, 1)
_RECOVERY_BYTES = 10  # 80 bits, which are 16 characters of base 32


class Seal:
    """Seals users' secrets. `key` has 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def close(self, secret: bytes, user_id: str) -> str:
        """Sealed for this user: it cannot be opened as another's."""
        nonce = os.urandom(_NONCE_BYTES)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, secret, user_id.encode())).decode()

    def open(self, sealed: str, user_id: str) -> bytes:
        """Raises :class:`DataCorrupt` when it was sealed with another key, or for somebody else."""
        content = base64.b64decode(sealed)
        try:
            return self._cipher.decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], user_id.encode())
        except InvalidTag as error:
            raise DataCorrupt(
                "A user's second factor cannot be read",
                why="control/signing.key in INSULA_HOME is another one than when it was made",
                todo="Restore that file from a backup, or `insula user reset-password --without-totp`",
                code="second-factor-unreadable",
            ) from error


def new_totp_secret() -> bytes:
    """Random bytes to make codes of."""
    return secrets.token_bytes(_SECRET_BYTES)


def totp_text(secret: bytes) -> str:
    """A secret as it is typed into an app."""
    return base64.b32encode(secret).decode()


def totp_uri(secret: bytes, name: str) -> str:
    """A secret as apps read it from a picture: otpauth://totp/…"""
    return _generator(secret).get_provisioning_uri(name, _ISSUER)


def step_of(secret: bytes, code: str, at: datetime) -> int | None:
    """The number of the 30 s of which this is the code, None when it is of none near `at`.

    A clock may be a step ahead or behind (RFC 6238, section 5.2).
    """
    given = "".join(code.split()).encode("utf-8", "replace")
    now = int(at.timestamp()) // STEP_S
    found = None
    for drift in _DRIFT_STEPS:
        # All are compared: how long it takes tells nothing.
        if hmac.compare_digest(_generator(secret).generate((now + drift) * STEP_S), given) and found is None:
            found = now + drift
    return found


def looks_like_totp(code: str) -> bool:
    """Whether a code is one of these, rather than a recovery code."""
    given = "".join(code.split())
    return len(given) == DIGITS and given.isascii() and given.isdigit()


def new_recovery_codes() -> tuple[str, ...]:
    """Codes like `abcd-efgh-ijkl-mnop`, each good once."""
    return tuple(_grouped(secrets.token_bytes(_RECOVERY_BYTES)) for _ in range(RECOVERY_CODES))


def plain_recovery_code(code: str) -> str:
    """A recovery code as it is hashed, however it was typed."""
    return "".join(char for char in code.lower() if char.isalnum())


def _grouped(code: bytes) -> str:
    text = base64.b32encode(code).decode().lower()
    return "-".join(text[begin : begin + 4] for begin in range(0, len(text), 4))


def _generator(secret: bytes) -> TOTP:
    return TOTP(secret, DIGITS, SHA1(), STEP_S)  # noqa: S303 - what all apps do; HMAC does not need more
