"""Token secrets: made, recognised, hashed.

A secret is a prefix, by default `insula_`, 40 characters of base 62 (238 random bits) and 6 characters of checksum. The
prefix lets scanners find leaked ones, and tools of others recognise what looks like theirs; the checksum lets a
mistyped one be refused without asking the database.

At rest there is the SHA-256 of a secret. Slow hashes like argon2 make guessing *passwords* costly; nobody can guess 238
random bits, so slowness would protect nothing and cost every request 20 ms.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib

PREFIX = "insula_"
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_CHARS = 40
_CHECKSUM_CHARS = 6
_PREFIX = re.compile(r"[a-z0-9_]{1,19}_")
_SECRET = re.compile(
    rf"(?P<prefix>{_PREFIX.pattern})(?P<body>[0-9A-Za-z]{{{_RANDOM_CHARS}}})(?P<checksum>[0-9A-Za-z]{{{_CHECKSUM_CHARS}}})"
)


def new_secret(prefix: str = PREFIX) -> str:
    body = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_CHARS))
    return prefix + body + _checksum(prefix, body)


def looks_right(secret: str) -> bool:
    """Whether prefix, length and checksum fit; says nothing about whether it is known."""
    found = _SECRET.fullmatch(secret)
    return found is not None and found["checksum"] == _checksum(found["prefix"], found["body"])


def is_prefix(text: str) -> bool:
    """Whether secrets may begin like this."""
    return _PREFIX.fullmatch(text) is not None


def hash_secret(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _checksum(prefix: str, body: str) -> str:
    number = zlib.crc32((body if prefix == PREFIX else prefix + body).encode())
    digits = ""
    for _ in range(_CHECKSUM_CHARS):
        number, digit = divmod(number, len(_ALPHABET))
        digits += _ALPHABET[digit]
    return digits
