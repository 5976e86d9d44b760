"""Passwords: which ones are good enough, and what is kept of them.

Hashing takes a processor for about 30 ms and 19 MiB of memory on purpose (argon2id as OWASP's cheat sheet on password
storage has it), so it runs in a thread, a few at a time, and whoever comes when many wait is sent away.
"""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from insula.base.errors import InvalidInput, RateLimited

FEWEST_CHARS, MOST_CHARS = 12, 256
_AT_ONCE = 2
_WAITING_MAX = 40
_FEWEST_DIFFERENT = 5
_LONGEST_REPEATED = 6
# Nobody's: checking a password against it takes as long as against anybody's, and never fits.
_NOBODYS = f"$argon2id$v=19$m=19456,t=2,p=1${'A' * 22}${'A' * 43}"

_ROWS = (
    "abcdefghijklmnopqrstuvwxyz",
    "12345678901234567890",
    "01234567890123456789",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
    "1q2w3e4r5t6y7u8i9o0p",
)
_WORDS = """
    access account admin administrator alexander asdf asdfgh asdfghjkl autumn azerty baseball basketball batman
    battery charlie cloud computer correct default dragon everything football freedom google guest hello home horse
    hosting hypervisor iloveyou insula internet jordan letmein liverpool login london love master michael michelle
    mine monkey my nothing owner passphrase passwort password please princess qwerty qwertyuiop qwertz root samsung
    secret secure server shadow spring staple starwars summer sunshine superman superuser test testing the this
    to trustno unknown user virtual welcome whatever winter xyz you your zxcvbn zxcvbnm change changeme me is
"""
_COMMON = tuple(_WORDS.split())
_LOOKALIKES = str.maketrans("013457@$!|", "oieastasii")
_R = TypeVar("_R")


def check_password(password: str, name: str, field: str = "password") -> str:
    """The password as it is hashed. Raises :class:`InvalidInput` (weak-password) for one that is soon guessed."""
    given = _normal(password)
    if not FEWEST_CHARS <= len(given) <= MOST_CHARS:
        raise _weak(f"It must have {FEWEST_CHARS} to {MOST_CHARS} characters, not {len(given)}", field)
    plain = given.casefold()
    if _core(plain) in {_core(name), _core(name.partition("@")[0])} or plain == name.casefold():
        raise _weak("It must not be the user's name", field)
    if is_guessable(plain):
        raise _weak(
            "It is among the first that are guessed: common words, rows of keys, repetitions, no letters", field
        )
    return given


def is_guessable(plain: str) -> bool:
    """Whether a password in lower case is of a kind that lists of common passwords are full of."""
    if len(set(plain)) < _FEWEST_DIFFERENT or re.fullmatch(rf"(.{{1,{_LONGEST_REPEATED}}}?)\1+", plain):
        return True
    if any(plain in row or plain in row[::-1] for row in _ROWS):
        return True
    return _is_made_of(_core(plain), _COMMON)


class Passwords:
    """Hashes and compares, without holding up the event loop."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """What is kept of a password. Raises :class:`RateLimited` when too many ask."""
        return await self._in_turn(lambda: self._hasher.hash(_normal(password)))

    async def matches(self, hashed: str, password: str) -> bool:
        """Whether it is the password; it takes as long where nothing is kept (an empty `hashed`), and is not then.

        Raises :class:`RateLimited` when too many ask.
        """

        def compare() -> bool:
            try:
                return self._hasher.verify(hashed or _NOBODYS, _normal(password)[:MOST_CHARS])
            except (VerificationError, InvalidHashError):
                return False

        return await self._in_turn(compare)

    async def _in_turn(self, work: Callable[[], _R]) -> _R:
        if self._waiting >= _WAITING_MAX:
            raise RateLimited(
                "Too many sign in at this moment",
                why=f"{self._waiting} wait for their passwords to be checked",
                todo="Try again in a few seconds",
                retry_after_s=5.0,
                code="too-many-sign-ins",
            )
        self._waiting += 1
        try:
            async with self._turns:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1


def _normal(password: str) -> str:
    # The same letter may be typed as one character or two, according to the keyboard.
    return unicodedata.normalize("NFKC", password.encode("utf-8", "replace").decode())


def _core(text: str) -> str:
    """A text's letters, without what people put at the ends to please rules, and with look-alikes read as letters."""
    inner = re.sub(r"^[\W\d_]+|[\W\d_]+$", "", text.casefold())
    return re.sub(r"[\W\d_]+", "", inner.translate(_LOOKALIKES))


def _is_made_of(text: str, words: tuple[str, ...]) -> bool:
    """Whether a text is words, one after the other; an empty one is."""
    ends = {0}
    for begin in range(len(text)):
        if begin in ends:
            ends |= {begin + len(word) for word in words if text.startswith(word, begin)}
    return len(text) in ends


def _weak(why: str, field: str) -> InvalidInput:
    return InvalidInput(
        "This password cannot be had",
        why=why,
        todo="Let a password manager make one, or take four words that do not belong together",
        code="weak-password",
        fields={field: why},
    )
