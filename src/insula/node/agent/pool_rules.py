"""Which members the pool should have: for the shapes that were asked for most within a day."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from insula.base.clock import monotonic_s
from insula.domain.instance import Firmware, MachineType, Resources

T = TypeVar("T")

_DAY_S = 24 * 3600.0
_MOST_OF_A_SHAPE = 2
_REMEMBERED = 1000  # requests, of all shapes together


@dataclass(frozen=True)
class PoolRules:
    """`memory_mib` is how much all members may take, each with the whole memory of its size; with 0 there are none.

    One that was drawn is held for `hold_s`. The node looks for an occasion to make one after `pause_s`, and after ever
    longer pauses while there is none.
    """

    memory_mib: int = 0
    hold_s: float = 60.0
    pause_s: float = 10.0
    longest_pause_s: float = 600.0


@dataclass(frozen=True)
class Shape:
    """What members have in common that can take each other's place. `key` is their template's.

    Each waits in a network, where it has its place already; the space is the one that this is in.
    """

    key: str
    space_id: str
    image: str
    resources: Resources
    firmware: Firmware
    machine_type: MachineType


class Wishes:
    """What was asked for, and when."""

    def __init__(self, now_s: Callable[[], float] = monotonic_s) -> None:
        self._now_s = now_s
        self._asked: list[tuple[float, Shape]] = []

    def note(self, shape: Shape) -> None:
        """It was asked for now. Another template for the same size takes the place of the one before."""
        others = [(at_s, shape if replace(each, key=shape.key) == shape else each) for at_s, each in self._asked]
        self._asked = [*others, (self._now_s(), shape)][-_REMEMBERED:]

    def give_up(self, shape: Shape) -> None:
        """Forget that it was asked for."""
        self._asked = [(at_s, each) for at_s, each in self._asked if each != shape]

    def give_up_image(self, image: str) -> None:
        """Forget all that was asked for of an image."""
        self._asked = [(at_s, each) for at_s, each in self._asked if each.image != image]

    def give_up_space(self, space_id: str) -> None:
        """Forget all that was asked for in a space."""
        self._asked = [(at_s, each) for at_s, each in self._asked if each.space_id != space_id]

    def targets(self, memory_mib: int) -> dict[Shape, int]:
        """How many members each shape should have within the budget, the most wanted first."""
        found: dict[Shape, int] = {}
        for shape in self._by_count():
            count = min(_MOST_OF_A_SHAPE, memory_mib // shape.resources.memory_mib)
            if count > 0:
                found[shape] = count
                memory_mib -= count * shape.resources.memory_mib
        return found

    def least_wanted(self, those: Iterable[T], key: Callable[[T], Shape]) -> Sequence[T]:
        """Those, by the shape that `key` gives, in the order in which to do without them."""
        order = {shape: place for place, shape in enumerate(self._by_count())}
        return sorted(those, key=lambda each: -order.get(key(each), len(order)))

    def _by_count(self) -> Sequence[Shape]:
        since_s = self._now_s() - _DAY_S
        counts: dict[Shape, int] = {}
        for at_s, shape in self._asked:
            if at_s >= since_s:
                counts[shape] = counts.get(shape, 0) + 1
        return sorted(counts, key=lambda shape: -counts[shape])
