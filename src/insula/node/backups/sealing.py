"""Chunks: what they are called, and how they are sealed before they leave the host.

A chunk's id is a keyed hash of its content, so equal content is stored once, and whoever keeps the store cannot find
out whether it holds something known. What is stored is compressed and then encrypted with AES-256-GCM, its id as
further authenticated data: an object that was changed, or put in another's place, is noticed. Sources: NIST SP 800-38D,
RFC 2104, RFC 8878.
"""

from __future__ import annotations

import hmac
import os
import threading

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from insula.base.errors import DataCorrupt

CHUNK_BYTES = 64 << 10
ID_BYTES = 32
ZEROS = bytes(CHUNK_BYTES)
ZERO_ID = bytes(ID_BYTES)  # stands for a chunk of zeros, which is not stored
KEY_BYTES = 32

_NONCE_BYTES = 12
_LEVEL = 1  # higher ones take longer than the disk for a few percent


class Sealer:
    """Seals and opens with the keys of one repository. May be used by several threads at once."""

    def __init__(self, master_key: bytes) -> None:
        self._id_key = derived(master_key, b"chunk ids")
        self._cipher = AESGCM(derived(master_key, b"contents"))
        self._of_thread = threading.local()  # a compressor is for one thread, and takes as long to make as a chunk does

    def id_of(self, content: bytes) -> bytes:
        return ZERO_ID if content == ZEROS else hmac.digest(self._id_key, content, "sha256")

    def seal(self, name: bytes, content: bytes) -> bytes:
        """Compress and encrypt; `name` must be given again to open it."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, self._compressor().compress(content), name)

    def _compressor(self) -> zstandard.ZstdCompressor:
        if not hasattr(self._of_thread, "compressor"):
            self._of_thread.compressor = zstandard.ZstdCompressor(level=_LEVEL)
        found: zstandard.ZstdCompressor = self._of_thread.compressor
        return found

    def open(self, name: bytes, sealed: bytes, *, at_most: int) -> bytes:
        """The content, of `at_most` so many bytes. Raises DataCorrupt."""
        try:
            packed = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name)
            return zstandard.ZstdDecompressor().decompress(packed, max_output_size=at_most)
        except (InvalidTag, ValueError, zstandard.ZstdError) as error:
            raise DataCorrupt(
                "A part of a backup store is damaged",
                why="It was changed, cut short or written with another key",
                todo="Check the store; what is whole can still be restored",
                code="backup-damaged",
            ) from error


def derived(key: bytes, purpose: bytes) -> bytes:
    """A key for one purpose only, from a key that is random. Source: RFC 5869."""
    return HKDFExpand(hashes.SHA256(), KEY_BYTES, b"insula backup: " + purpose).derive(key)
