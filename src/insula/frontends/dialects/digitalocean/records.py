"""Their ids and ours: volumes, networks, firewalls and projects have UUIDs there, the 128 bits of our ids."""

from __future__ import annotations

import uuid

from insula.domain.ids import Kind
from insula.frontends.dialects.records import unknown

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def uuid_of(record: str) -> str:
    """The UUID of one of our ids."""
    number = 0
    for digit in record.rpartition("_")[2]:
        number = number << 5 | _ALPHABET.index(digit)
    return str(uuid.UUID(int=number & (1 << 128) - 1))


def record_of(text: str, kind: Kind) -> str:
    """Our id of a UUID. Raises NotFound for what is none."""
    try:
        number = uuid.UUID(text).int
    except ValueError as error:
        raise unknown(kind.name.lower(), text) from error
    digits = "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))
    return f"{kind.value}_{digits}"
