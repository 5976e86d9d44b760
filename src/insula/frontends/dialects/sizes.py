"""Sizes as other vendors sell them, each with the limits of one of our plans, and our plans themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from insula.base.errors import InvalidInput
from insula.control.actions.sizes import SizeWish
from insula.domain.instance import Resources
from insula.domain.plan import PLANS


@dataclass(frozen=True)
class Size:
    """`plan` gives the limits. Memory in MiB, disk in GiB."""

    slug: str
    description: str
    vcpus: int
    memory_mib: int
    disk_gib: int
    plan: str

    @property
    def wish(self) -> SizeWish:
        """What departs from the plan."""
        return SizeWish(self.vcpus, self.memory_mib, self.disk_gib)


class Sizes:
    """A vendor's sizes, and after them our plans. `field` is what a request calls one."""

    def __init__(self, field: str, theirs: Sequence[Size]) -> None:
        ours = [Size(one.name, "Insula", one.vcpus, one.memory_mib, one.disk_gib, one.name) for one in PLANS.values()]
        self.all = (*theirs, *ours)
        self.slugs = tuple(size.slug for size in self.all)
        self._field = field
        self._by_slug: Mapping[str, Size] = {size.slug: size for size in self.all}

    def find(self, slug: str) -> Size:
        """Raises InvalidInput."""
        try:
            return self._by_slug[slug]
        except KeyError:
            raise InvalidInput(
                f"You specified an invalid {self._field} {slug[:80]!r}",
                why=f"There are {', '.join(self.slugs)}",
                todo="Choose one of them",
                fields={self._field: "unknown"},
            ) from None

    def of(self, plan: str, resources: Resources, remembered: str) -> Size:
        """The size of an instance: what it was given if it still has that, else one like it, else its plan's."""
        fits = [size for size in self.all if (size.vcpus, size.memory_mib) == (resources.vcpus, resources.memory_mib)]
        known = self._by_slug.get(remembered)
        if known is not None and known in fits:
            return known
        exact = next((size for size in fits if size.disk_gib == resources.disk_gib), None)
        return exact or next(iter(fits), None) or self._by_slug.get(plan) or self.all[0]
