"""Published images: made of an instance's disk, in versions, of a project that may share them with others."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from insula.base.errors import NotFound

_DIGITS = 9


class PublishedState(StrEnum):
    PUBLISHING = "publishing"
    AVAILABLE = "available"
    FAILED = "failed"  # an operation left it half-way; it can only be deleted
    DELETED = "deleted"  # nobody can use it any more; its data stays as long as somebody does


@dataclass(frozen=True)
class PublishedImage:
    """One version of a published image as control records it; the node knows it by its `id`.

    `origin` says in words what it was made of, `base` is the image that this was based on. `shared_with` are projects,
    which see all versions of the name that are AVAILABLE; so does everybody when it is `shared_with_all`.
    """

    id: str
    project: str
    name: str
    version: int
    state: PublishedState
    node: str
    base: str
    origin: str
    created_at: datetime
    updated_at: datetime
    deprecated: bool = False
    problem: str = ""  # why it is FAILED
    shared_with: tuple[str, ...] = ()
    shared_with_all: bool = False

    @property
    def reference(self) -> str:
        """What names exactly this version in its project."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class ImageReference:
    """`NAME`, which is the newest version that is not deprecated, or `NAME@VERSION`; a version of 0 is none."""

    name: str
    version: int = 0


def parse_reference(text: str) -> ImageReference:
    """Raises :class:`NotFound` for what is no reference: nothing can be called that."""
    name, mark, number = text.partition("@")
    if not mark:
        return ImageReference(name)
    if not number.isascii() or not number.isdigit() or len(number) > _DIGITS or int(number) == 0:
        raise NotFound(
            f"There is no image {text[:80]!r}",
            why="After @ comes the number of a version",
            todo="Name one like my-web@1; `insula image list` shows all",
            code="unknown-image",
        )
    return ImageReference(name, int(number))
