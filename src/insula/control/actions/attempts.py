"""How often somebody may guess a password or a code: ever more slowly, for each user name and each client's address.

It is counted in memory. A restart forgets it, and each controller of several counts for itself; a guess costs an
attacker a hash that is slow on purpose in any case.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from insula.base.clock import monotonic_s
from insula.base.errors import RateLimited

_REMEMBERED_MAX = 50_000
_FORGOTTEN_AFTER_S = 3600.0
_IPV6_PREFIX = 64  # one client has all of these


@dataclass(frozen=True)
class Pace:
    """So many failures cost nothing; each further one doubles the wait, from a second up to the longest."""

    free: int
    longest_s: float

    def wait_s(self, failures: int) -> float:
        return 0.0 if failures < self.free else min(2.0 ** min(failures - self.free, 30), self.longest_s)


PER_NAME = Pace(free=5, longest_s=300.0)
# Behind a proxy all have one address, so nobody must be able to lock the others out for long.
PER_ADDRESS = Pace(free=20, longest_s=60.0)


@dataclass(frozen=True, eq=False)
class _Count:
    failures: int = 0
    last_s: float = 0.0
    until_s: float = 0.0


_NONE = _Count()


class _Counts:
    """Failures by key."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._held: OrderedDict[str, _Count] = OrderedDict()

    def of(self, key: str, now_s: float) -> _Count:
        held = self._held.get(key, _NONE)
        return _NONE if now_s - held.last_s > _FORGOTTEN_AFTER_S else held

    def add(self, key: str, now_s: float) -> _Count:
        failures = self.of(key, now_s).failures + 1
        return self.put(key, _Count(failures, now_s, now_s + self._pace.wait_s(failures)))

    def put(self, key: str, count: _Count) -> _Count:
        self._held[key] = count
        self._held.move_to_end(key)
        while len(self._held) > _REMEMBERED_MAX:
            self._held.popitem(last=False)
        return count

    def lessen(self, key: str, held: _Count) -> None:
        """One failure less, with the wait that the others cause."""
        failures = max(0, held.failures - 1)
        self.put(key, _Count(failures, held.last_s, held.until_s if self._pace.wait_s(failures) else 0.0))

    def forget(self, key: str) -> None:
        self._held.pop(key, None)


class Attempt:
    """One guess, which counts as a failure until it is said what came of it."""

    def __init__(self, names: _Counts, addresses: _Counts, name: str, client: str, now_s: float) -> None:
        self._names = names
        self._parts = [(names, name)] + ([(addresses, address_of(client))] if client else [])
        self._name = name
        for counts, key in self._parts:
            _check_free(counts.of(key, now_s), now_s)
        self._before = [counts.of(key, now_s) for counts, key in self._parts]
        self._mine = [counts.add(key, now_s) for counts, key in self._parts]
        self._now_s = now_s

    def take_back(self) -> None:
        """It was no guess. What others failed meanwhile stays counted."""
        for (counts, key), before, mine in zip(self._parts, self._before, self._mine, strict=True):
            held = counts.of(key, self._now_s)
            if held is mine and before is _NONE:
                counts.forget(key)
            elif held is mine:
                counts.put(key, before)
            else:
                counts.lessen(key, held)

    def succeeded(self) -> None:
        """It was right: the name's failures are forgotten. The address's are not: anybody may have one account."""
        self.take_back()
        self._names.forget(self._name)


class Attempts:
    """All guesses of late. `now_s` is a clock that never goes back."""

    def __init__(self, now_s: Callable[[], float] = monotonic_s) -> None:
        self._now_s = now_s
        self._names = _Counts(PER_NAME)
        self._addresses = _Counts(PER_ADDRESS)

    def begin(self, name: str, client: str = "") -> Attempt:
        """Count a guess, before it is looked at: several at once count as well.

        Raises :class:`RateLimited` (too-many-sign-ins) for one that comes too early, which does not count.
        """
        return Attempt(self._names, self._addresses, name, client, self._now_s())


def address_of(client: str) -> str:
    """What a client's address is counted by: of IPv6 the network that one client has."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client[:64]
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))


def _check_free(count: _Count, now_s: float) -> None:
    wait_s = count.until_s - now_s
    if wait_s > 0:
        raise RateLimited(
            "Too many sign-ins failed",
            why=f"{count.failures} in a row were wrong for this name or from this address",
            todo=f"Try again in {wait_s:.0f} s",
            retry_after_s=max(1.0, wait_s),
            code="too-many-sign-ins",
        )
