"""Token secrets: made, recognised, hashed.

A secret is `insula_`, 40 characters of base 62 (238 random bits) and 6 characters of checksum. The prefix lets scanners
find leaked ones, the checksum lets a mistyped one be refused without asking the database.

At rest there is the SHA-256 of a secret. Slow hashes like argon2 make guessing *passwords* costly; nobody can guess 238
random bits, so slowness would protect nothing and cost every request 20 ms.
"""

from __future__ import annotations

import hashlib
import secrets
import string
import zlib

PREFIX = "insula_"
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_CHARS = 40
_CHECKSUM_CHARS = 6


def new_secret() -> str:
    body = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_CHARS))
    return PREFIX + body + _checksum(body)


def looks_right(secret: str) -> bool:
    """Whether prefix, length and checksum fit; says nothing about whether it is known."""
    body, checksum = secret[len(PREFIX) : -_CHECKSUM_CHARS], secret[-_CHECKSUM_CHARS:]
    return secret.startswith(PREFIX) and len(body) == _RANDOM_CHARS and secret.isascii() and checksum == _checksum(body)


def hash_secret(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(_CHECKSUM_CHARS):
        number, digit = divmod(number, len(_ALPHABET))
        digits += _ALPHABET[digit]
    return digits
