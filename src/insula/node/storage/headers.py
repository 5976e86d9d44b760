"""Reads disk image headers ourselves, before any tool is let near the file.

qcow2: QEMU's `docs/interop/qcow2.txt`. Everything that could make a tool read or write another file is refused.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from insula.base.errors import DataCorrupt, InvalidInput, NotFound

MAX_VIRTUAL_BYTES = 16 << 40
_SECTOR_BYTES = 512
_QCOW2_MAGIC = b"QFI\xfb"
_V2 = struct.Struct(">4sIQIIQIIQQIIQ")  # through snapshots_offset: 72 bytes
_V3 = struct.Struct(">QQQII")  # incompatible, compatible, autoclear, refcount_order, header_length
_EXTENSION = struct.Struct(">II")
_EXTENSION_END = 0
_EXTENSION_BACKING_FORMAT = 0xE2792ACA
_EXTENSION_DATA_FILE = 0x44415441
_INCOMPATIBLE_CORRUPT = 1 << 1
_INCOMPATIBLE_DATA_FILE = 1 << 2
_INCOMPATIBLE_KNOWN = 0b11111  # dirty, corrupt, external data, compression type, extended L2

# Formats that a header gives away, so that a wrongly declared file is named as what it is.
_OTHER_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"KDMV", "vmdk"),
    (0, b"COWD", "vmdk"),
    (0, b"# Disk DescriptorFile", "vmdk"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"conectix", "vpc"),
    (0, b"QED\0", "qed"),
    (64, b"\x7f\x10\xda\xbe", "vdi"),
    (0, b"LUKS\xba\xbe", "luks"),
    (0, b"\xfd7zXZ\0", "xz"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"PK\x03\x04", "zip"),
    (0x8001, b"CD001", "iso"),
)


class FileFormat(StrEnum):
    QCOW2 = "qcow2"
    RAW = "raw"


@dataclass(frozen=True)
class Qcow2Header:
    version: int
    virtual_bytes: int
    cluster_bytes: int
    encrypted: bool
    backing_file: str = ""
    backing_format: str = ""
    external_data: bool = False
    corrupt: bool = False
    snapshots: int = 0


def parse_qcow2(data: bytes, file_bytes: int) -> Qcow2Header:
    """Parse the first 64 KiB (or the whole) of a qcow2 file of `file_bytes`.

    Raises :class:`DataCorrupt` that names what is wrong; never anything else, whatever the bytes are.
    """
    if data[:4] != _QCOW2_MAGIC:
        raise _corrupt("it does not begin with the mark of qcow2")
    if len(data) < _V2.size:
        raise _corrupt(f"its header ends after {len(data)} bytes; it needs {_V2.size}")
    fields = _V2.unpack_from(data)
    (_, version, backing_offset, backing_length, cluster_bits, size, crypt, l1_entries, l1_offset) = fields[:9]
    refcount_offset, snapshots = fields[9], fields[11]
    if version not in (2, 3):
        raise _corrupt(f"its version is {version}; 2 and 3 are known")
    if not 9 <= cluster_bits <= 21:
        raise _corrupt(f"its clusters have 2^{cluster_bits} bytes; 2^9 to 2^21 are possible")
    incompatible, header_length = 0, _V2.size
    if version == 3:
        if len(data) < _V2.size + _V3.size:
            raise _corrupt("its version 3 header is cut off")
        incompatible, _, _, refcount_order, header_length = _V3.unpack_from(data, _V2.size)
        if refcount_order > 6 or not _V2.size + _V3.size <= header_length <= 1 << cluster_bits:
            raise _corrupt("its version 3 header has impossible lengths")
        if incompatible & ~_INCOMPATIBLE_KNOWN:
            raise _corrupt(f"it needs features that are unknown here (bits {incompatible:#x})")
    _check_tables(size, cluster_bits, (l1_entries, l1_offset, refcount_offset), file_bytes)
    extensions = _extensions(data, header_length, backing_offset)
    return Qcow2Header(
        version=version,
        virtual_bytes=size,
        cluster_bytes=1 << cluster_bits,
        encrypted=crypt != 0,
        backing_file=_text_at(data, backing_offset, backing_length),
        backing_format=extensions.get(_EXTENSION_BACKING_FORMAT, b"").decode("utf-8", "replace"),
        external_data=bool(incompatible & _INCOMPATIBLE_DATA_FILE) or _EXTENSION_DATA_FILE in extensions,
        corrupt=bool(incompatible & _INCOMPATIBLE_CORRUPT),
        snapshots=snapshots,
    )


def _check_tables(size: int, cluster_bits: int, tables: tuple[int, int, int], file_bytes: int) -> None:
    l1_entries, l1_offset, refcount_offset = tables
    if size > MAX_VIRTUAL_BYTES:
        raise _corrupt(f"it claims a disk of {size / 2**40:.1f} TiB; {MAX_VIRTUAL_BYTES >> 40} TiB is the most")
    if size == 0:
        raise _corrupt("it claims a disk of 0 bytes")
    # One L1 entry covers a table of cluster/8 clusters. A smaller table leaves the disk's end unreachable; with
    # extended L2 entries (twice as large) it covers half.
    needed = -(-size // (1 << (2 * cluster_bits - 3)))
    if not needed <= l1_entries <= max(4 * needed, 64):
        raise _corrupt(f"its L1 table has {l1_entries} entries; the disk's size needs {needed}")
    for name, offset, length in (("L1 table", l1_offset, 8 * l1_entries), ("refcount table", refcount_offset, 8)):
        if offset % (1 << cluster_bits) or offset == 0:
            raise _corrupt(f"its {name} does not begin at a cluster")
        if offset + length > file_bytes:
            raise _corrupt(f"its {name} ends at byte {offset + length}, the file at {file_bytes}: it is cut off")


def _extensions(data: bytes, position: int, backing_offset: int) -> dict[int, bytes]:
    """Header extensions: type, length, data padded to 8 bytes, until type 0."""
    found: dict[int, bytes] = {}
    end = min(len(data), backing_offset or len(data))
    while position + _EXTENSION.size <= end:
        kind, length = _EXTENSION.unpack_from(data, position)
        if kind == _EXTENSION_END:
            break
        position += _EXTENSION.size
        if position + length > len(data):
            raise _corrupt("one of its header extensions is cut off")
        found[kind] = data[position : position + length]
        position += (length + 7) & ~7
    return found


def _text_at(data: bytes, offset: int, length: int) -> str:
    if offset == 0:
        return ""
    if not 1 <= length <= 1023 or offset + length > len(data):
        raise _corrupt("the name of its backing file is cut off")
    return data[offset : offset + length].decode("utf-8", "replace")


def _corrupt(why: str) -> DataCorrupt:
    return DataCorrupt(
        "The qcow2 file is damaged",
        why=f"Its header cannot be right: {why}",
        todo="Download or copy the file again, and compare its checksum",
        code="damaged-image-file",
    )


_HEAD_BYTES = 1 << 16


def read_qcow2(path: Path) -> Qcow2Header:
    """Parse a qcow2 file's header. Raises :class:`DataCorrupt`, OSError."""
    with path.open("rb") as file:
        return parse_qcow2(file.read(_HEAD_BYTES), path.stat().st_size)


def probe(path: Path) -> str:
    """The format that a file's header gives away; `raw` when it has no mark of any known format."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(_QCOW2_MAGIC):
        return FileFormat.QCOW2
    return next((name for at, magic, name in _OTHER_MAGIC if head[at : at + len(magic)] == magic), FileFormat.RAW)


def parse_format(text: str) -> FileFormat:
    """The format that a user declared. Raises :class:`InvalidInput`; there is deliberately no guessing."""
    try:
        return FileFormat(text)
    except ValueError:
        raise InvalidInput(
            f"Disk images in format {text[:40]!r} cannot be imported",
            why="Formats are qcow2 and raw; the format is never guessed, since a guess can be steered by the file",
            todo="Say qcow2 or raw; convert others first with `qemu-img convert -O qcow2`",
            code="unknown-image-format",
            fields={"image_format": "qcow2 or raw"},
        ) from None


def check_importable(path: Path, declared: FileFormat) -> int:
    """Check that `path` is what the user declared and refers to no other file; returns the disk's size in bytes.

    Raises :class:`NotFound`, :class:`InvalidInput` (another format, backing file, external data, encrypted) and
    :class:`DataCorrupt` (damaged header, cut off, absurd size).
    """
    if not path.is_file():
        raise NotFound(
            f"There is no file {path}",
            why="It does not exist on this node, or is not a regular file",
            todo="Give the path of a qcow2 or raw file on the machine that runs the service",
            code="no-such-file",
        )
    found = probe(path)
    if found != declared:
        raise InvalidInput(
            f"{path.name} is not a {declared} file",
            why=f"Its header is that of {found}",
            todo=f"Say --format {found}" if found in set(FileFormat) else "Convert it to qcow2 or raw first",
            code="wrong-image-format",
            fields={"image_format": f"the file is {found}"},
        )
    if declared is FileFormat.RAW:
        return _raw_size(path)
    header = read_qcow2(path)
    _refuse_references(path, header)
    return header.virtual_bytes


def _raw_size(path: Path) -> int:
    size = path.stat().st_size
    if size == 0 or size % _SECTOR_BYTES or size > MAX_VIRTUAL_BYTES:
        raise DataCorrupt(
            f"{path.name} is not a whole raw disk",
            why=f"It has {size} bytes; a raw disk has a multiple of {_SECTOR_BYTES}, "
            f"at most {MAX_VIRTUAL_BYTES >> 40} TiB",
            todo="Copy the file again: it seems cut off",
            code="damaged-image-file",
        )
    return size


def _refuse_references(path: Path, header: Qcow2Header) -> None:
    reason = ""
    if header.backing_file:
        reason = f"it needs a backing file ({header.backing_file[:200]!r})"
    elif header.external_data:
        reason = "it keeps its data in another file"
    elif header.encrypted:
        reason = "it is encrypted"
    elif header.corrupt:
        reason = "it is marked as corrupt"
    if reason:
        raise InvalidInput(
            f"{path.name} cannot be imported",
            why=f"An image must be one whole file, and {reason}",
            todo="Flatten it where it comes from: qemu-img convert -O qcow2 OLD NEW",
            code="image-not-self-contained",
            fields={"path": reason},
        )
