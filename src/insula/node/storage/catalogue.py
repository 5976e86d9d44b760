"""All images that this version can make: its own recipes, and vendors' cloud images from `catalogue.yaml`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from insula.base.errors import DataCorrupt, InvalidInput
from insula.domain.names import check_name
from insula.node.storage.downloading import CloudImage, Downloaded
from insula.node.storage.fetch import check_url
from insula.node.storage.library import ImageLibrary
from insula.node.storage.making import Maker
from insula.node.storage.recipes.debian import Debian12
from insula.node.storage.recipes.tiny import Tiny

CATALOGUE = Path(__file__).with_name("catalogue.yaml")


def parse_catalogue(text: str, source: str) -> Sequence[CloudImage]:
    """The cloud images that a catalogue file lists. Raises :class:`DataCorrupt` that names the entry and the field."""
    try:
        data: Any = yaml.safe_load(text)
        images = msgspec.convert(data["images"], list[CloudImage], strict=True)
        for image in images:
            check_name(image.name)
            for url in filter(None, (image.url, image.checksums, image.checksum_signature)):
                check_url(url)
    except (yaml.YAMLError, msgspec.ValidationError, InvalidInput, KeyError, TypeError) as error:
        raise _unusable(source, str(error)) from error
    names = [image.name for image in images]
    if duplicates := {name for name in names if names.count(name) > 1}:
        raise _unusable(source, f"these names occur twice: {', '.join(sorted(duplicates))}")
    if half := [image.name for image in images if bool(image.checksum_signature) != bool(image.checksum_keyring)]:
        raise _unusable(source, f"checksum_signature and checksum_keyring go together: {', '.join(half)}")
    return images


def _unusable(source: str, why: str) -> DataCorrupt:
    return DataCorrupt(
        f"The image catalogue {source} cannot be used",
        why=f"In detail: {why}",
        todo="Correct the entry; the catalogue that Insula brings shows the fields",
        code="invalid-catalogue",
    )


def makers() -> Sequence[Maker]:
    """Every image that can be made here, by recipe or by download."""
    clouds = parse_catalogue(CATALOGUE.read_text(), str(CATALOGUE))
    return (Debian12(), Tiny(), *(Downloaded(image) for image in clouds))


def open_library(folder: Path) -> ImageLibrary:
    """The library that keeps its images in `folder` and can make all of the catalogue."""
    return ImageLibrary(folder, makers())
