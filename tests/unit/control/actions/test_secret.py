"""Token secrets are recognisable, checked and never the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from insula.control.actions.secret import PREFIX, hash_secret, is_prefix, looks_right, new_secret


def test_a_new_secret_looks_right_and_is_new() -> None:
    made = {new_secret() for _ in range(200)}
    assert len(made) == 200
    assert all(looks_right(secret) and secret.startswith(PREFIX) and len(secret) == 53 for secret in made)


def test_a_secret_may_begin_like_anothers() -> None:
    secret = new_secret("dop_v1_")
    assert secret.startswith("dop_v1_")
    assert looks_right(secret)
    assert [is_prefix(text) for text in ("dop_v1_", "a_", "a", "", "A_", "a" * 20 + "_")] == [True, True, *[False] * 4]


def test_any_single_mistake_is_noticed() -> None:
    secret = new_secret()
    for place in range(len(secret)):
        wrong = "x" if secret[place] != "x" else "y"
        assert not looks_right(secret[:place] + wrong + secret[place + 1 :])
    assert not looks_right(secret[:-1])
    assert not looks_right(secret + "0")


@given(st.text())
def test_other_text_is_no_secret(text: str) -> None:
    assert not looks_right(text)
    assert len(hash_secret(text)) == 64
