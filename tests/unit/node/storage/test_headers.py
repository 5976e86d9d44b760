from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.base.errors import DataCorrupt, InvalidInput, NotFound
from insula.node.storage.headers import FileFormat, check_importable, parse_format, parse_qcow2, probe
from tests.unit.node.storage.qcow2_files import Qcow2

BACKING_FORMAT = 0xE2792ACA
DATA_FILE_NAME = 0x44415441


def write(tmp_path: Path, data: bytes, name: str = "disk.img") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_a_plain_qcow2_tells_its_size() -> None:
    header = parse_qcow2(Qcow2(size=10 << 30).file(), 4 << 16)
    assert header.virtual_bytes == 10 << 30
    assert header.cluster_bytes == 65536
    assert header.backing_file == ""
    assert not header.encrypted


def test_a_backing_file_and_its_format_are_read() -> None:
    header = parse_qcow2(Qcow2(backing_file=b"/images/a", extensions=[(BACKING_FORMAT, b"qcow2")]).file(), 4 << 16)
    assert (header.backing_file, header.backing_format) == ("/images/a", "qcow2")


@pytest.mark.parametrize(
    ("bent", "reason"),
    [
        (Qcow2(backing_file=b"/etc/shadow"), "backing file ('/etc/shadow')"),
        (Qcow2(incompatible=1 << 2), "data in another file"),
        (Qcow2(extensions=[(DATA_FILE_NAME, b"/etc/shadow")]), "data in another file"),
        (Qcow2(crypt=1), "encrypted"),
        (Qcow2(incompatible=1 << 1), "marked as corrupt"),
    ],
)
def test_an_image_that_is_not_one_whole_file_is_refused(tmp_path: Path, bent: Qcow2, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_importable(write(tmp_path, bent.file()), FileFormat.QCOW2)
    assert caught.value.code == "image-not-self-contained"
    assert reason in caught.value.why
    assert "qemu-img convert" in caught.value.todo


@pytest.mark.parametrize(
    ("bent", "reason"),
    [
        (Qcow2(version=9), "version is 9"),
        (Qcow2(cluster_bits=40), "2^40"),
        (Qcow2(size=1 << 60), "TiB is the most"),
        (Qcow2(size=0), "0 bytes"),
        (Qcow2(l1_entries=0), "0 entries"),
        (Qcow2(l1_entries=1 << 30), "entries"),
        (Qcow2(l1_offset=7), "does not begin at a cluster"),
        (Qcow2(l1_offset=9 << 16), "it is cut off"),
        (Qcow2(refcount_offset=99 << 16), "it is cut off"),
        (Qcow2(incompatible=1 << 40), "features that are unknown"),
        (Qcow2(header_length=8), "impossible lengths"),
    ],
)
def test_an_impossible_header_is_refused_with_the_reason(tmp_path: Path, bent: Qcow2, reason: str) -> None:
    data = bent.file() if bent.header_length >= 104 else Qcow2().file()[:100] + b"\0\0\0\x08" + Qcow2().file()[104:]
    with pytest.raises(DataCorrupt) as caught:
        check_importable(write(tmp_path, data), FileFormat.QCOW2)
    assert reason in caught.value.why


@pytest.mark.parametrize("length", [4, 30, 71, 90, 103])
def test_a_header_that_is_cut_off_is_refused(tmp_path: Path, length: int) -> None:
    with pytest.raises(DataCorrupt, match="damaged"):
        check_importable(write(tmp_path, Qcow2().file()[:length]), FileFormat.QCOW2)


@given(st.binary(max_size=400))
def test_no_bytes_after_the_mark_cause_anything_but_our_error(data: bytes) -> None:
    with contextlib.suppress(DataCorrupt):
        assert 0 < parse_qcow2(b"QFI\xfb" + data, len(data) + 4).virtual_bytes <= 16 << 40


@given(st.integers(0, 103), st.binary(min_size=1, max_size=8))
def test_a_good_header_with_some_bytes_changed_never_crashes(at: int, change: bytes) -> None:
    data = bytearray(Qcow2(backing_file=b"/x").file())
    data[at : at + len(change)] = change
    with contextlib.suppress(DataCorrupt):
        assert 0 < parse_qcow2(bytes(data), len(data)).virtual_bytes <= 16 << 40


def test_the_declared_format_must_be_the_real_one(tmp_path: Path) -> None:
    qcow2 = write(tmp_path, Qcow2().file())
    with pytest.raises(InvalidInput) as caught:
        check_importable(qcow2, FileFormat.RAW)
    assert caught.value.code == "wrong-image-format"
    assert "qcow2" in caught.value.todo
    raw = write(tmp_path, b"\0" * 4096, "raw.img")
    with pytest.raises(InvalidInput):
        check_importable(raw, FileFormat.QCOW2)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"KDMV" + b"\0" * 508, "vmdk"),
        (b"# Disk DescriptorFile\n" + b"\0" * 490, "vmdk"),
        (b"vhdxfile" + b"\0" * 504, "vhdx"),
        (b"\xfd7zXZ\0" + b"\0" * 506, "xz"),
        (b"\0" * 0x8001 + b"CD001" + b"\0" * 506, "iso"),
        (b"\0" * 512, "raw"),
    ],
)
def test_other_formats_are_known_by_their_marks(tmp_path: Path, data: bytes, name: str) -> None:
    assert probe(write(tmp_path, data)) == name


def test_a_raw_disk_must_have_whole_sectors(tmp_path: Path) -> None:
    assert check_importable(write(tmp_path, b"\0" * 1024), FileFormat.RAW) == 1024
    for size in (0, 513):
        with pytest.raises(DataCorrupt, match="not a whole raw disk"):
            check_importable(write(tmp_path, b"\0" * size), FileFormat.RAW)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file"):
        check_importable(tmp_path / "absent", FileFormat.RAW)
    with pytest.raises(NotFound):
        check_importable(tmp_path, FileFormat.RAW)


@pytest.mark.parametrize("text", ["", "auto", "vmdk", "QCOW2", "qcow2 "])
def test_only_two_formats_are_taken_and_none_is_guessed(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_format(text)
    assert caught.value.fields == {"image_format": "qcow2 or raw"}
