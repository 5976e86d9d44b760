"""Which members are wanted."""

from __future__ import annotations

from dataclasses import dataclass, replace

from insula.domain.instance import Firmware, MachineType, Resources
from insula.node.agent.pool_rules import Shape, Wishes

SMALL = Shape("k1", "spc_1", "tiny", Resources(1, 128, 2, 25), Firmware.AUTO, MachineType.AUTO)
LARGE = Shape("k2", "spc_1", "tiny", Resources(2, 1024, 2, 100), Firmware.AUTO, MachineType.AUTO)
HOUR_S = 3600.0


@dataclass
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_two_of_each_shape_the_most_wanted_first() -> None:
    wishes = Wishes()
    for shape in (LARGE, SMALL, SMALL):
        wishes.note(shape)
    assert list(wishes.targets(10_000).items()) == [(SMALL, 2), (LARGE, 2)]
    assert wishes.least_wanted([SMALL, LARGE], key=lambda each: each) == [LARGE, SMALL]


def test_what_the_budget_has_no_room_for_is_not_wanted() -> None:
    wishes = Wishes()
    for shape in (LARGE, LARGE, SMALL):
        wishes.note(shape)
    assert wishes.targets(1024 + 128) == {LARGE: 1, SMALL: 1}
    assert wishes.targets(1023) == {SMALL: 2}
    assert wishes.targets(127) == {}


def test_after_a_day_nobody_wants_it_any_more() -> None:
    clock = Clock()
    wishes = Wishes(clock)
    wishes.note(LARGE)
    clock.now_s = 23 * HOUR_S
    wishes.note(SMALL)
    assert set(wishes.targets(10_000)) == {LARGE, SMALL}
    clock.now_s = 25 * HOUR_S
    assert set(wishes.targets(10_000)) == {SMALL}


def test_a_new_template_takes_the_place_of_the_old_one() -> None:
    wishes = Wishes()
    wishes.note(SMALL)
    newer = replace(SMALL, key="k3")
    wishes.note(newer)
    assert wishes.targets(10_000) == {newer: 2}
    wishes.give_up(newer)
    assert wishes.targets(10_000) == {}
