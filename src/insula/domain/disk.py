"""Sizes of disks, be they an instance's own or volumes."""

from __future__ import annotations

from insula.base.errors import Conflict

GIB = 1 << 30


def check_growth(present_bytes: int, wanted_gib: int) -> None:
    """Raise :class:`Conflict` unless a disk of `present_bytes` has at most the wanted size: none becomes smaller."""
    if present_bytes > wanted_gib * GIB:
        raise Conflict(
            "A disk cannot become smaller",
            why=f"It has {present_bytes / GIB:g} GiB and {wanted_gib} GiB were asked for; the guest's data beyond "
            "would be lost",
            todo="Ask for at least its present size, or create a smaller one and copy what is needed",
            code="disk-shrink",
        )
