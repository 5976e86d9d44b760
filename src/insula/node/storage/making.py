"""What makes an image: the interface between the library and recipes, downloads and imports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from insula.node.storage.manifest import ImageFacts, KernelFiles
from insula.protocol.node import Progress


@dataclass(frozen=True)
class Made:
    """What a maker tells about the files that it put into the building folder (`disk.qcow2` at least)."""

    version: str
    kernel: KernelFiles | None = None
    command_line: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)


class Maker(Protocol):
    """Makes one image. `digest` changes whenever the result would be made differently."""

    @property
    def facts(self) -> ImageFacts: ...
    @property
    def digest(self) -> str: ...

    async def make(self, folder: Path, progress: Progress) -> Made:
        """Put the image's files into `folder`, and leave nothing else there. `progress` gets true percentages."""
        ...
