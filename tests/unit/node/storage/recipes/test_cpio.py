from __future__ import annotations

import io
import stat

from insula.node.storage.recipes import cpio


def read(data: bytes) -> dict[str, tuple[int, bytes, tuple[int, int]]]:
    """A reader of the format, written from its description and not from our writer."""
    found: dict[str, tuple[int, bytes, tuple[int, int]]] = {}
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        numbers = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        mode, size, name_size = numbers[1], numbers[6], numbers[11]
        name = data[at + 110 : at + 110 + name_size - 1].decode()
        begin = (at + 110 + name_size + 3) & ~3
        if name == "TRAILER!!!":
            return found
        found[name] = (mode, data[begin : begin + size], (numbers[9], numbers[10]))
        at = (begin + size + 3) & ~3


def write(*entries: cpio.Entry) -> bytes:
    out = io.BytesIO()
    cpio.write(out, entries)
    return out.getvalue()


def test_every_kind_of_entry_reads_back() -> None:
    found = read(
        write(
            cpio.folder("bin"),
            cpio.file("bin/x", b"12345", executable=True),
            cpio.file("plain", b""),
            cpio.link("bin/sh", "x"),
            cpio.character_device("console", 5, 1),
        )
    )
    assert stat.S_ISDIR(found["bin"][0])
    assert found["bin/x"][1] == b"12345"
    assert found["bin/x"][0] & 0o777 == 0o755
    assert found["plain"][0] & 0o777 == 0o644
    assert stat.S_ISLNK(found["bin/sh"][0])
    assert found["bin/sh"][1] == b"x"
    assert stat.S_ISCHR(found["console"][0])
    assert found["console"][2] == (5, 1)


def test_the_same_entries_give_the_same_bytes() -> None:
    assert write(cpio.file("a", b"1")) == write(cpio.file("a", b"1"))
    assert write(cpio.file("a", b"1")) != write(cpio.file("a", b"2"))
