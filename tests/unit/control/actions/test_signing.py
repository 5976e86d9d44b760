"""Signing keys are derived: always the same for a token, another one for every other, and nothing of them is stored."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.base.errors import DataCorrupt
from insula.control.actions.signing import SigningKeys, token_of
from insula.domain.ids import Kind, new_id


def test_a_key_belongs_to_one_token_of_one_installation() -> None:
    here, elsewhere = SigningKeys(b"a" * 32), SigningKeys(b"b" * 32)
    one, two = new_id(Kind.TOKEN), new_id(Kind.TOKEN)
    assert here.of(one) == SigningKeys(b"a" * 32).of(one)
    assert len({here.of(one).secret, here.of(two).secret, elsewhere.of(one).secret}) == 3
    assert len(here.of(one).secret) == 40
    assert token_of(here.of(one).id) == one
    assert here.of(one).secret not in repr(here.of(one))


def test_the_installations_secret_is_made_once_and_for_the_service_alone(tmp_path: Path) -> None:
    token, file = new_id(Kind.TOKEN), tmp_path / "signing.key"
    first = SigningKeys.open(file).of(token)
    assert file.stat().st_mode & 0o777 == 0o600
    assert SigningKeys.open(file).of(token) == first
    file.write_bytes(b"short")
    with pytest.raises(DataCorrupt):
        SigningKeys.open(file)


@given(st.text())
def test_other_text_is_no_keys_id(text: str) -> None:
    assert token_of(text) == ""
