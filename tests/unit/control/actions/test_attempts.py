"""Who guesses waits ever longer, by a clock that the test turns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.base.errors import RateLimited
from insula.control.actions.attempts import PER_ADDRESS, PER_NAME, Attempts, address_of


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def wait_s(attempts: Attempts, name: str, client: str = "") -> float:
    """How long the next attempt has to wait; one that has not is made, and fails."""
    try:
        attempts.begin(name, client)
    except RateLimited as error:
        return error.retry_after_s
    return 0.0


def test_the_wait_doubles_up_to_the_longest() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    assert [wait_s(attempts, "ada") for _ in range(PER_NAME.free)] == [0.0] * PER_NAME.free
    waits = []
    for _ in range(12):
        waits.append(wait_s(attempts, "ada"))
        clock.now_s += waits[-1]
        assert wait_s(attempts, "ada") == 0.0
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert wait_s(attempts, "bob") == 0.0


def test_an_attempt_that_comes_too_early_prolongs_nothing() -> None:
    attempts = Attempts(Clock())
    for _ in range(PER_NAME.free):
        attempts.begin("ada")
    first = wait_s(attempts, "ada")
    assert [wait_s(attempts, "ada") for _ in range(50)] == [first] * 50


def test_one_address_cannot_try_many_names() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    waits = [wait_s(attempts, f"user{number}", "192.0.2.7") for number in range(PER_ADDRESS.free + 1)]
    assert waits == [0.0] * PER_ADDRESS.free + [1.0]
    assert wait_s(attempts, "user0", "192.0.2.8") == 0.0


def test_a_success_forgives_the_name_and_not_the_address() -> None:
    attempts = Attempts(Clock())
    for _ in range(PER_NAME.free - 1):
        attempts.begin("ada", "192.0.2.7")
    attempts.begin("ada", "192.0.2.7").succeeded()
    assert [wait_s(attempts, "ada") for _ in range(PER_NAME.free)] == [0.0] * PER_NAME.free
    left = PER_ADDRESS.free - (PER_NAME.free - 1)
    assert [wait_s(attempts, f"user{n}", "192.0.2.7") for n in range(left + 1)] == [0.0] * left + [1.0]


def test_what_was_no_guess_is_taken_back() -> None:
    attempts = Attempts(Clock())
    for _ in range(100):
        attempts.begin("ada", "192.0.2.7").take_back()
    assert wait_s(attempts, "ada", "192.0.2.7") == 0.0


def test_taking_one_back_forgives_no_other() -> None:
    attempts = Attempts(Clock())
    for _ in range(PER_NAME.free - 2):
        attempts.begin("ada")
    no_guess = attempts.begin("ada")
    attempts.begin("ada")
    no_guess.take_back()
    attempts.begin("ada")
    assert wait_s(attempts, "ada") >= 1.0


def test_several_at_once_count_before_any_is_over() -> None:
    attempts = Attempts(Clock())
    begun = [wait_s(attempts, "ada") for _ in range(20)]
    assert begun.count(0.0) == PER_NAME.free


def test_after_an_hour_it_is_forgotten() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    for _ in range(PER_NAME.free):
        attempts.begin("ada")
    clock.now_s += 3601
    assert [wait_s(attempts, "ada") for _ in range(PER_NAME.free)] == [0.0] * PER_NAME.free


@pytest.mark.parametrize(
    ("client", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("nonsense", "nonsense"),
    ],
)
def test_what_an_address_is_counted_by(client: str, counted: str) -> None:
    assert address_of(client) == counted


@given(st.lists(st.sampled_from(["fail", "take back", "wait"]), max_size=60))
def test_no_order_of_events_gives_more_guesses_than_are_due(events: list[str]) -> None:
    clock = Clock()
    attempts, failures, waited_s = Attempts(clock), 0, 0.0
    for event in events:
        if event == "wait":
            clock.now_s += 10
            waited_s += 10
            continue
        try:
            attempt = attempts.begin("ada")
        except RateLimited:
            continue
        if event == "fail":
            failures += 1
        else:
            attempt.take_back()
    # All but the last wait were waited for.
    assert sum(PER_NAME.wait_s(number) for number in range(1, failures)) <= waited_s
