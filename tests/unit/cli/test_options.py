from __future__ import annotations

from pathlib import Path

import pytest

from insula.base.errors import InsulaError, InvalidInput, NotFound
from insula.cli.options import disk_gib, memory_mib, read_forward, read_key, size_gib
from insula.domain.instance import PortForward, Protocol


@pytest.mark.parametrize(
    ("text", "mib"), [("512M", 512), ("512MiB", 512), ("4G", 4096), ("0.5g", 512), ("1T", 1024 * 1024), (None, None)]
)
def test_memory_is_read_in_its_unit(text: str | None, mib: int | None) -> None:
    assert memory_mib(text) == mib


@pytest.mark.parametrize("text", ["", "4", "G", "-1G", "4X", "four", "0M", "nanG", "infG", "1e99T"])
def test_a_wrong_size_says_how_to_write_one(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        memory_mib(text)
    assert "--memory 4G" in caught.value.todo


def test_a_disk_has_whole_gibibytes() -> None:
    assert disk_gib("20G") == 20
    assert disk_gib("2048M") == 2
    assert size_gib("20", "SIZE") == 20
    with pytest.raises(InvalidInput, match="whole number of GiB"):
        disk_gib("1.5G")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8080:80", PortForward(80, 8080)),
        ("80", PortForward(80, 0)),
        ("0:443", PortForward(443, 0)),
        ("0.0.0.0:53:53/udp", PortForward(53, 53, "0.0.0.0", Protocol.UDP)),
        ("[::1]:8080:80/tcp", PortForward(80, 8080, "::1")),
    ],
)
def test_forwards(text: str, expected: PortForward) -> None:
    assert read_forward(text) == expected


@pytest.mark.parametrize("text", ["", ":", "80:", "a:b", "80:0", "80:65536", "70000:80", "80:80/sctp", "²:80"])
def test_a_wrong_forward_says_how_to_write_one(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_forward(text)
    assert "--forward 8080:80" in caught.value.todo


def test_a_key_is_a_file_a_text_or_a_name(tmp_path: Path) -> None:
    file = tmp_path / "laptop.pub"
    file.write_text("ssh-ed25519 AAAA me\n")
    assert read_key(str(file)) == "ssh-ed25519 AAAA me"
    assert read_key("ssh-ed25519 AAAA me") == "ssh-ed25519 AAAA me"
    assert read_key("laptop") == "laptop"


def test_a_private_key_is_refused_before_it_leaves_us(tmp_path: Path) -> None:
    file = tmp_path / "id_ed25519"
    file.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    with pytest.raises(InvalidInput, match="private key"):
        read_key(str(file))


@pytest.mark.parametrize(("name", "kind"), [("missing.pub", NotFound), ("folder.pub", InvalidInput)])
def test_an_unreadable_key_file_is_named(tmp_path: Path, name: str, kind: type[InsulaError]) -> None:
    (tmp_path / "folder.pub").mkdir()
    with pytest.raises(kind, match=name):
        read_key(str(tmp_path / name))
