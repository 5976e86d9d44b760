"""Codes of a moment and of its neighbours, recovery codes, and secrets that only their user's seal opens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.base.errors import DataCorrupt
from insula.control.actions.second_factors import (
    Seal,
    looks_like_totp,
    new_recovery_codes,
    new_totp_secret,
    plain_recovery_code,
    step_of,
    totp_text,
    totp_uri,
)

SECRET = b"12345678901234567890"


# RFC 6238, appendix B, the last six digits of SHA1's column.
@pytest.mark.parametrize(
    ("second", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_the_standards_own_codes(second: int, code: str) -> None:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    assert step_of(SECRET, code, at) == second // 30
    assert step_of(SECRET, f" {code[:3]} {code[3:]} ", at) == second // 30


@pytest.mark.parametrize(("late_s", "is_right"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)])
def test_a_clock_may_be_a_step_ahead_or_behind(late_s: int, is_right: bool) -> None:
    at = datetime.fromtimestamp(1234567890 + late_s, UTC)
    assert step_of(SECRET, "005924", at) == (1234567890 // 30 if is_right else None)


@given(st.text())
def test_other_text_is_no_code(text: str) -> None:
    at = datetime.fromtimestamp(1234567890, UTC)
    assert looks_like_totp(text) or step_of(SECRET, text, at) is None


def test_an_app_can_read_it() -> None:
    secret = new_totp_secret()
    assert len(secret) == 20
    assert totp_uri(secret, "ada@example.org").startswith("otpauth://totp/Insula:ada%40example.org?")
    assert f"secret={totp_text(secret)}" in totp_uri(secret, "ada@example.org")


def test_recovery_codes_are_told_from_others_however_they_are_typed() -> None:
    codes = new_recovery_codes()
    assert len(set(codes)) == 10
    assert not any(looks_like_totp(code) for code in codes)
    assert looks_like_totp(" 123 456 ")
    assert {plain_recovery_code(code) for code in codes} == {plain_recovery_code(f" {c.upper()}") for c in codes}
    assert all(len(plain_recovery_code(code)) == 16 for code in codes)


def test_a_sealed_secret_is_one_users_of_one_installation() -> None:
    here, elsewhere = Seal(b"a" * 32), Seal(b"b" * 32)
    sealed = here.close(SECRET, "usr_1")
    assert here.open(sealed, "usr_1") == SECRET
    assert here.close(SECRET, "usr_1") != sealed
    for other, user in ((here, "usr_2"), (elsewhere, "usr_1")):
        with pytest.raises(DataCorrupt) as refused:
            other.open(sealed, user)
        assert refused.value.code == "second-factor-unreadable"
