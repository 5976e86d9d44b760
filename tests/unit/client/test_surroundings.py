"""How a command becomes the program that the guest runs."""

from __future__ import annotations

import pytest

from insula.client.sandbox import Surroundings


@pytest.mark.parametrize(
    ("surroundings", "command", "argv"),
    [
        (Surroundings({}, ""), "ls | wc", ["/bin/sh", "-c", "ls | wc"]),
        (Surroundings({}, ""), ["ls", "a b"], ["ls", "a b"]),
        (Surroundings({"A": "1 2"}, ""), ["ls"], ["env", "A=1 2", "ls"]),
        (Surroundings({"A": "1"}, "").with_more({"A": "2", "B": ""}, ""), ["ls"], ["env", "A=2", "B=", "ls"]),
    ],
)
def test_a_text_is_the_shells_and_a_list_is_not(
    surroundings: Surroundings, command: str | list[str], argv: list[str]
) -> None:
    assert surroundings.argv(command) == argv
