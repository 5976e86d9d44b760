"""Passwords that are soon guessed are refused; hashes are compared in the same way for everybody."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest
from argon2 import PasswordHasher, extract_parameters
from hypothesis import given, settings
from hypothesis import strategies as st

from insula.base.errors import InvalidInput, RateLimited
from insula.control.actions.passwords import Passwords, check_password, is_guessable

GOOD = "violet-otter-sings-alone"


@pytest.mark.parametrize(
    "password",
    [
        "short-one!!",
        "x" * 257,
        "aaaaaaaaaaaa",
        "abcabcabcabc",
        "passwordpassword",
        "Password1234!",
        "P@ssw0rd12345",
        "correcthorsebatterystaple",
        "qwertyuiopasdf",
        "1234567890123",
        "9876543210987",
        "1q2w3e4r5t6y7u",
        "ChangeMe-ChangeMe-1",
        "welcome to insula",
        "837465918274",
        "!!!!????!!!!",
    ],
)
def test_a_password_that_is_soon_guessed(password: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_password(password, "ada", "new")
    assert refused.value.code == "weak-password"
    assert set(refused.value.fields) == {"new"}
    assert password not in str(refused.value)


@pytest.mark.parametrize(
    "password", ["ada.lovelace@example.org", "ADA.LOVELACE@EXAMPLE.ORG", "AdaLovelace2024!", "ada.lovelace1"]
)
def test_the_users_name(password: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_password(password, "ada.lovelace@example.org")
    assert refused.value.code == "weak-password"


@pytest.mark.parametrize(
    "password", [GOOD, "x7#Kq9!vLm2$", "пароль-от-соседа", "tr0ub4dor and 3 more", "ﬁne-grained-otters"]
)
def test_a_good_password(password: str) -> None:
    assert check_password(password, "ada")


@given(st.text(alphabet="changeme", max_size=256))
@settings(deadline=500)
def test_looking_for_common_words_takes_no_long_time(text: str) -> None:
    assert is_guessable(text) in (True, False)


def test_the_longest_repetition_of_words_is_judged_at_once() -> None:
    assert is_guessable("changeme" * 32)
    assert not is_guessable("changeme" * 31 + "violet-x")


async def test_a_hash_fits_its_password_only() -> None:
    passwords = Passwords()
    hashed = await passwords.hash(GOOD)
    assert GOOD not in hashed
    found = extract_parameters(hashed)
    assert (found.memory_cost, found.time_cost, found.parallelism, str(found.type)) == (19456, 2, 1, "Type.ID")
    assert await passwords.matches(hashed, GOOD)
    assert not await passwords.matches(hashed, GOOD + ".")
    assert not await passwords.matches("damaged", GOOD)


async def test_a_letter_typed_as_one_character_or_two_is_the_same() -> None:
    passwords = Passwords()
    hashed = await passwords.hash(check_password("caf\u00e9-otter-sings", "ada"))
    assert await passwords.matches(hashed, "cafe\u0301-otter-sings")


async def test_nobodys_password_is_hashed_like_anybodys() -> None:
    passwords = Passwords()
    anybodys = await passwords.hash(GOOD)
    compared: list[str] = []

    class Watched(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 - the library's own name
            compared.append(str(hash))
            return super().verify(hash, password)

    passwords._hasher = Watched()
    assert not await passwords.matches("", GOOD)
    assert not await passwords.matches("", "")
    assert [extract_parameters(each) for each in compared] == [extract_parameters(anybodys)] * 2


async def test_a_crowd_is_sent_away() -> None:
    passwords = Passwords()
    found = await asyncio.gather(*(passwords.matches("", str(number)) for number in range(60)), return_exceptions=True)
    refused = [each for each in found if isinstance(each, RateLimited)]
    assert len(refused) == 20
    assert all(each.retry_after_s >= 1 for each in refused)
    assert not await passwords.matches("", "later")
