"""Back-off and giving up."""

from __future__ import annotations

from insula.node.agent.restart import RestartCounter, RestartRules


def test_delays_double_up_to_the_longest_and_then_it_is_given_up() -> None:
    counter = RestartCounter(RestartRules())
    assert [counter.died(1) for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, None]


def test_a_long_life_begins_a_new_count() -> None:
    counter = RestartCounter(RestartRules())
    for _ in range(5):
        counter.died(1)
    assert counter.died(3600) == 1
    assert counter.died(1) == 2


def test_a_start_by_command_begins_a_new_count() -> None:
    counter = RestartCounter(RestartRules())
    counter.died(1)
    counter.reset()
    assert counter.died(1) == 1
