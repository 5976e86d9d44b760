from __future__ import annotations

import pytest
import yaml

from insula.base.errors import DataCorrupt
from insula.node.storage.catalogue import CATALOGUE, makers, parse_catalogue
from insula.node.storage.downloading import find_checksum

ENTRY = {
    "name": "x",
    "title": "X",
    "url": "https://example.org/x.img",
    "format": "qcow2",
    "checksums": "https://example.org/SHA256SUMS",
    "min_memory_mib": 512,
    "min_disk_gib": 3,
}


def catalogue(*entries: dict[str, object]) -> str:
    return yaml.safe_dump({"images": list(entries)})


def test_the_catalogue_we_bring_is_valid_and_has_what_is_promised() -> None:
    images = {image.name: image for image in parse_catalogue(CATALOGUE.read_text(), "ours")}
    assert set(images) == {"debian-12-cloud", "debian-13-cloud", "ubuntu-22-04", "ubuntu-24-04"}
    assert all(image.url.startswith("https://") for image in images.values())


def test_every_maker_has_a_name_of_its_own_and_says_why_to_trust_it() -> None:
    facts = [maker.facts for maker in makers()]
    assert len({fact.name for fact in facts}) == len(facts) == 6
    assert all(len(fact.trust) > 20 for fact in facts)
    assert len({maker.digest for maker in makers()}) == 6


def test_an_unsigned_checksum_file_is_called_weaker() -> None:
    trust = {maker.facts.name: maker.facts.trust for maker in makers()}
    assert trust["debian-12-cloud"].startswith("Weaker")
    assert "signed" in trust["debian-12"]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (ENTRY | {"url": "http://example.org/x"}, "https"),
        (ENTRY | {"checksums": "ftp://example.org/x"}, "https"),
        (ENTRY | {"format": "vmdk"}, "format"),
        (ENTRY | {"min_memory_mib": "much"}, "min_memory_mib"),
        (ENTRY | {"name": "Not A Name"}, "name"),
        ({key: value for key, value in ENTRY.items() if key != "checksums"}, "checksums"),
        (ENTRY | {"checksum_signature": "https://example.org/sig"}, "go together"),
    ],
)
def test_a_wrong_entry_is_named(entry: dict[str, object], reason: str) -> None:
    with pytest.raises(DataCorrupt) as caught:
        parse_catalogue(catalogue(entry), "theirs")
    assert reason in caught.value.why


@pytest.mark.parametrize("text", ["", "- a", "images: 1", "a: [", "images: [{}]"])
def test_anything_else_is_refused_too(text: str) -> None:
    with pytest.raises(DataCorrupt):
        parse_catalogue(text, "theirs")


def test_two_entries_of_one_name_are_refused() -> None:
    with pytest.raises(DataCorrupt, match="occur twice"):
        parse_catalogue(catalogue(ENTRY, ENTRY), "theirs")


def test_both_styles_of_checksum_files_are_read() -> None:
    text = f"{'a' * 64} *x.img\n{'B' * 128}  ./y.img\n{'c' * 64}  x.img.manifest\n"
    assert find_checksum(text, "x.img") == "a" * 64
    assert find_checksum(text, "y.img") == "b" * 128
    for absent in ("z.img", ".img", "x.im"):
        with pytest.raises(DataCorrupt):
            find_checksum(text, absent)
