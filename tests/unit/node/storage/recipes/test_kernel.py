from __future__ import annotations

import lzma
import struct

import pytest

from insula.node.storage.recipes.kernel import unpack

ELF = b"\x7fELF" + b"kernel" * 100


def bz_image(payload: bytes) -> bytes:
    """A kernel with two sectors of real-mode code and its payload 64 bytes into the rest."""
    data = bytearray(3 * 512 + 64)
    data[0x1F1] = 2
    data[0x202:0x206] = b"HdrS"
    data[0x248:0x250] = struct.pack("<II", 64, len(payload))
    return bytes(data) + payload


def test_the_kernel_inside_is_found_though_its_size_follows_it() -> None:
    assert unpack(bz_image(lzma.compress(ELF) + struct.pack("<I", len(ELF)))) == ELF


@pytest.mark.parametrize(
    "image",
    [b"", b"\x7fELF", bz_image(b"\x1f\x8bgzip"), bz_image(lzma.compress(b"no kernel")), bz_image(b"\xfd7zXZ\0broken")],
)
def test_anything_else_is_left_packed(image: bytes) -> None:
    assert unpack(image) is None
