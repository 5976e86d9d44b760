from __future__ import annotations

import struct
from pathlib import Path

import pytest

from insula.base.errors import DataCorrupt
from insula.node.storage.recipes.modules import depends_of, load_order, without_signature


def module(folder: Path, name: str, depends: str) -> None:
    path = folder / "kernel" / name[0] / f"{name}.ko"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x7fELF...license=GPL\0depends=" + depends.encode() + b"\0intree=Y\0")


def test_each_module_comes_after_what_it_needs_and_once(tmp_path: Path) -> None:
    module(tmp_path, "ext4", "jbd2,mbcache,crc16")
    module(tmp_path, "jbd2", "crc16")
    module(tmp_path, "mbcache", "")
    module(tmp_path, "crc16", "")
    module(tmp_path, "unneeded", "")
    names = [path.stem for path in load_order(tmp_path, ["ext4", "jbd2"])]
    assert sorted(names) == ["crc16", "ext4", "jbd2", "mbcache"]
    assert names.index("crc16") < names.index("jbd2") < names.index("ext4")


def test_dashes_and_underscores_name_the_same_module(tmp_path: Path) -> None:
    module(tmp_path, "virtio-rng", "rng-core")
    module(tmp_path, "rng-core", "")
    assert [path.stem for path in load_order(tmp_path, ["virtio_rng"])] == ["rng-core", "virtio-rng"]


def test_a_module_that_is_gone_is_named(tmp_path: Path) -> None:
    module(tmp_path, "ext4", "jbd2")
    with pytest.raises(DataCorrupt, match="no module jbd2"):
        load_order(tmp_path, ["ext4"])


def test_a_module_without_needs_has_none() -> None:
    assert depends_of(b"\0depends=\0") == ()
    assert depends_of(b"no such section") == ()


MARK = b"~Module signature appended~\n"


def test_only_the_signature_is_taken_off() -> None:
    signed = b"module" + b"s" * 300 + struct.pack(">5B3xI", 0, 0, 2, 0, 0, 300) + MARK
    assert without_signature(signed) == b"module"


@pytest.mark.parametrize("module", [b"", b"unsigned", MARK, b"x" + struct.pack(">5B3xI", 0, 0, 2, 0, 0, 999) + MARK])
def test_what_is_not_signed_or_broken_is_left_as_it_is(module: bytes) -> None:
    assert without_signature(module) == module
