"""The SSH host key of a new instance, made here: an emulated CPU needs a second for what takes this one no time."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

_KIND = b"ssh-ed25519"


@dataclass(frozen=True)
class HostKey:
    """One Ed25519 key in the files that SSH servers read.

    `openssh` is OpenSSH's private key file, `dropbear` that of dropbear; `public` is one line without a comment.
    """

    openssh: bytes
    dropbear: bytes
    public: str


def new_host_key() -> HostKey:
    """A key that nobody has had before.

    Source: OpenSSH `PROTOCOL.key`; dropbear `ed25519.c` (`buf_put_ed25519_priv_key`).
    """
    key = Ed25519PrivateKey.generate()
    public = key.public_key()
    secret = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    shown = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return HostKey(
        openssh=key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        dropbear=_string(_KIND) + _string(secret + shown),
        public=public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii"),
    )


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data
