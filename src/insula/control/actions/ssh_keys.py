"""SSH public keys as people paste them: parsed, never guessed (RFC 4253 section 6.6, RFC 8709, PROTOCOL.u2f)."""

from __future__ import annotations

import base64
import hashlib
import struct
from dataclasses import dataclass

from insula.base.errors import InvalidInput

MAX_KEY_CHARS = 16384
_RSA_MIN_BITS = 2048

# The number of bytes of the key proper, None where it varies.
_TYPES = {
    "ssh-ed25519": 32,
    "ssh-rsa": None,
    "ecdsa-sha2-nistp256": 65,
    "ecdsa-sha2-nistp384": 97,
    "ecdsa-sha2-nistp521": 133,
    "sk-ssh-ed25519@openssh.com": 32,
    "sk-ecdsa-sha2-nistp256@openssh.com": 65,
}


@dataclass(frozen=True)
class PublicKey:
    """A parsed key. `text` is one line: type, base64, comment; `fingerprint` is OpenSSH's SHA256 form."""

    text: str
    fingerprint: str


def parse_public_key(text: str, field: str = "public_key") -> PublicKey:
    """Parse one line of an `id_….pub` file. Raises :class:`InvalidInput` that says what is wrong with it."""
    line = text.strip()
    if "PRIVATE KEY" in line or line.startswith("PuTTY-User-Key-File"):
        raise _bad(
            field,
            "this is a private key; keep it secret",
            "Send the public half, the file whose name ends in .pub. Others may have seen this one by now",
            code="private-key",
        )
    parts = line.split(None, 2)
    if len(line) > MAX_KEY_CHARS or "\n" in line or "\r" in line or not line.isprintable() or len(parts) < 2:
        raise _bad(field, "one line is expected: the key's type, its base64 text and perhaps a comment")
    kind, encoded = parts[0], parts[1]
    if kind not in _TYPES:
        raise _bad(field, f"the key type {kind[:40]!r} is not known; usable are {', '.join(_TYPES)}")
    try:
        blob = base64.b64decode(encoded, validate=True)
        _check_blob(kind, blob, field)
    except (ValueError, struct.error) as error:  # not ASCII, not base64, not whole
        raise _bad(field, "its base64 text is damaged or cut off") from error
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return PublicKey(text=" ".join(parts), fingerprint=f"SHA256:{digest}")


def _check_blob(kind: str, blob: bytes, field: str) -> None:
    named, rest = _string(blob)
    if named.decode("ascii") != kind:
        raise _bad(field, f"it calls itself {kind}, but its base64 text holds another type")
    if kind == "ssh-rsa":
        _exponent, rest = _string(rest)
        modulus, rest = _string(rest)
        bits = int.from_bytes(modulus, "big").bit_length()
        if bits < _RSA_MIN_BITS:
            raise _bad(field, f"an RSA key needs at least {_RSA_MIN_BITS} bits, this one has {bits}")
    else:
        if "ecdsa" in kind:
            _curve, rest = _string(rest)
        point, rest = _string(rest)
        if len(point) != _TYPES[kind]:
            raise _bad(field, f"a key of type {kind} has {_TYPES[kind]} bytes, this one has {len(point)}")
        if kind.startswith("sk-"):
            _application, rest = _string(rest)
    if rest:
        raise _bad(field, "there is something after the end of the key in its base64 text")


def _string(data: bytes) -> tuple[bytes, bytes]:
    """The first length-prefixed string and what follows it."""
    (length,) = struct.unpack(">I", data[:4])
    if len(data) < 4 + length:
        raise struct.error("cut off")
    return data[4 : 4 + length], data[4 + length :]


def _bad(field: str, why: str, todo: str = "", code: str = "invalid-ssh-key") -> InvalidInput:
    return InvalidInput(
        "That is no usable SSH public key",
        why=why[0].upper() + why[1:],
        todo=todo or "Send the content of a file like ~/.ssh/id_ed25519.pub; `ssh-keygen -t ed25519` makes one",
        code=code,
        fields={field: why},
    )
