"""Identifiers: a kind's prefix, then 26 characters of Crockford base32 whose order is the order of creation (ULID)."""

from __future__ import annotations

import re
import secrets
import time
from enum import StrEnum

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PATTERN = re.compile(r"[a-z]{2,4}_[0-9a-hjkmnp-tv-z]{26}")


class Kind(StrEnum):
    """What an identifier names; the value is its prefix."""

    INSTANCE = "ins"
    OPERATION = "op"
    PROJECT = "prj"
    TOKEN = "tok"  # noqa: S105 - a prefix, not a secret
    KEY = "key"
    IMAGE = "img"
    VOLUME = "vol"
    SNAPSHOT = "snp"
    STORE = "sto"
    BACKUP = "bkp"
    NODE = "nod"
    NETWORK = "net"
    PORT = "prt"
    ADDRESS = "adr"
    ADDRESS_POOL = "apl"
    FIREWALL = "fwl"
    RULE = "rul"
    USER = "usr"
    SESSION = "ses"


def new_id(kind: Kind) -> str:
    """A new identifier, e.g. `ins_01hq…`: 48 bits of milliseconds, 80 random bits."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    digits = "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))
    return f"{kind.value}_{digits}"


def new_mac() -> str:
    """A new address of a network card: locally administered, unicast, 40 random bits."""
    return ":".join(("02", *(f"{byte:02x}" for byte in secrets.token_bytes(5))))


def is_id(text: str, kind: Kind) -> bool:
    """Whether `text` looks like an identifier of this kind."""
    return text.startswith(f"{kind.value}_") and _PATTERN.fullmatch(text) is not None
