"""Sizes that a vendor offers, each with the limits of one of our plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from insula.base.errors import InvalidInput
from insula.control.actions.sizes import SizeWish
from insula.domain.instance import Resources


@dataclass(frozen=True)
class Size:
    """`plan` gives the limits. Memory in MiB, disk in GiB. One that is not `offered` any more can still be had."""

    slug: str
    description: str
    vcpus: int
    memory_mib: int
    disk_gib: int
    plan: str
    offered: bool = True

    @property
    def wish(self) -> SizeWish:
        """What departs from the plan."""
        return SizeWish(self.vcpus, self.memory_mib, self.disk_gib)


class Offer:
    """All sizes of a vendor, who calls each of them a `word`."""

    def __init__(self, sizes: Sequence[Size], word: str) -> None:
        self.sizes = sizes
        self.slugs = tuple(size.slug for size in sizes)
        self._word = word
        self._by_slug: Mapping[str, Size] = {size.slug: size for size in sizes}

    def find(self, slug: str) -> Size:
        """Raises InvalidInput."""
        try:
            return self._by_slug[slug]
        except KeyError:
            raise InvalidInput(
                f"You specified an invalid {self._word} {slug[:80]!r}",
                why=f"There are {', '.join(self.slugs)}",
                todo="Choose one of them",
                fields={self._word: "unknown"},
            ) from None

    def of(self, plan: str, resources: Resources, remembered: str) -> Size:
        """An instance's: the one that it was given if it still has that, else one like it, else its plan's."""
        shape = (resources.vcpus, resources.memory_mib)
        fits = [size for size in self.sizes if (size.vcpus, size.memory_mib) == shape]
        known = self._by_slug.get(remembered)
        if known is not None and known in fits:
            return known
        exact = next((size for size in fits if size.disk_gib == resources.disk_gib), None)
        return exact or next(iter(fits), None) or self._by_slug.get(plan) or self.sizes[0]
