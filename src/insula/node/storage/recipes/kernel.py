"""Takes a kernel out of its packed form.

A `bzImage` (the kernel's `Documentation/arch/x86/boot.rst`) carries a compressed ELF file; `payload_offset` and
`payload_length` of its header, counted from the end of the real-mode sectors, say where.
"""

from __future__ import annotations

import lzma
import shutil
import struct
from pathlib import Path

from insula.node.storage.manifest import KernelFiles
from insula.node.storage.recipes.initrd import write_initrd

_SETUP_SECTORS_AT = 0x1F1
_MAGIC_AT = 0x202
_PAYLOAD_AT = 0x248
_SECTOR_BYTES = 512
_XZ = b"\xfd7zXZ\0"
_ELF = b"\x7fELF"


def unpack(image: bytes) -> bytes | None:
    """The ELF file inside a `bzImage`; None when it is none, or is packed with anything but xz."""
    if len(image) < _PAYLOAD_AT + 8 or image[_MAGIC_AT : _MAGIC_AT + 4] != b"HdrS":
        return None
    begin = (image[_SETUP_SECTORS_AT] + 1) * _SECTOR_BYTES
    offset, length = struct.unpack_from("<II", image, _PAYLOAD_AT)
    payload = image[begin + offset : begin + offset + length]
    if not payload.startswith(_XZ):
        return None
    try:
        # The stream is followed by its unpacked size, which the decompressor leaves alone.
        kernel = lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(payload)
    except lzma.LZMAError:
        return None
    return kernel if kernel.startswith(_ELF) else None


def take_kernel(packed: Path, busybox: Path, modules: Path, folder: Path) -> KernelFiles:
    """Copy a kernel (`vmlinuz-RELEASE`) into the image's folder, with its initial root file system and what emulation
    starts faster with.

    `modules` is the folder that holds one folder per release. Takes about a second.
    """
    release = packed.name.removeprefix("vmlinuz-")
    shutil.copyfile(packed, folder / "kernel")
    write_initrd(folder / "initrd", busybox=busybox, modules_folder=modules / release)
    write_initrd(folder / "initrd-emulated", busybox=busybox, modules_folder=modules / release, signed=False)
    unpacked = unpack(packed.read_bytes())
    if unpacked is not None:
        (folder / "vmlinux").write_bytes(unpacked)
    return KernelFiles("kernel", "initrd", "vmlinux" if unpacked else "", "initrd-emulated")
