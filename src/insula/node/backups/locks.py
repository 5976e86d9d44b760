"""Locks in the target: writers may work side by side, a prune alone.

A lock is an object that its holder writes anew every few minutes. One that was not for half an hour belongs to somebody
who was killed, and counts no more. All times are the target's own, so clocks that differ do no harm.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from insula.base.errors import Conflict, Forbidden, HostFailure, InsulaError, Unavailable
from insula.node.backups.target import Stored, Target

LOCKS = "locks/"
EXPIRES_S = 1800.0
RENEWED_S = 300.0
_SHARED, _ALONE = "shared-", "alone-"
_LEFT: set[str] = set()  # locks of ours that could not be removed when their work was over; names are never used twice


@asynccontextmanager
async def shared(target: Target, owner: str = "") -> AsyncIterator[None]:
    """Beside other writers. Raises Conflict while somebody works alone; cancels its body when the lock is lost.

    `owner` tells whose lock it is, see :func:`remove_of`.
    """
    async with _held(target, f"{_SHARED}{owner}", _ALONE):
        yield


@asynccontextmanager
async def reading(target: Target, owner: str = "") -> AsyncIterator[None]:
    """Like :func:`shared`, but where nothing can be written, such as on a read-only copy, it goes without a lock."""
    async with AsyncExitStack() as stack:
        with contextlib.suppress(Forbidden, HostFailure):
            await stack.enter_async_context(shared(target, owner))
        yield


@asynccontextmanager
async def alone(target: Target, owner: str = "") -> AsyncIterator[None]:
    """With nobody else. Raises Conflict while others work; cancels its body when the lock is lost."""
    async with _held(target, f"{_ALONE}{owner}", ""):
        yield


async def remove_of(target: Target, owner: str) -> int:
    """Remove what an owner who was killed left, and tell how many; nobody may work in that name meanwhile."""
    names = [stored.name async for stored in target.list(LOCKS)]
    left = [name for name in names if name.startswith((f"{LOCKS}{_SHARED}{owner}", f"{LOCKS}{_ALONE}{owner}"))]
    for name in left:
        await target.delete(name)
    return len(left)


async def remove_drafts(target: Target) -> None:
    """Remove what those left unfinished whose locks would have expired; for one who holds a lock of its own."""
    renewed_s = max([stored.modified_at_s async for stored in target.list(LOCKS)], default=0.0)
    await target.remove_drafts(renewed_s - EXPIRES_S)


@asynccontextmanager
async def _held(target: Target, begin: str, bars: str) -> AsyncIterator[None]:
    name = f"{LOCKS}{begin}{secrets.token_hex(8)}"
    try:
        await target.put(name, b"held")
    except BaseException:  # it may be there all the same, when we were cut off or the store went away
        _LEFT.add(name)
        raise
    # Written first and looked for others then: of two at once each sees the other, and at least one gives way.
    try:
        await _check(target, name, bars)
        async with _renewed(target, name):
            yield
    finally:
        try:
            await asyncio.shield(target.delete(name))
        except InsulaError:  # the store is away: whom it bars removes it, or it expires
            _LEFT.add(name)


async def _check(target: Target, own: str, bars: str) -> None:
    found = [stored async for stored in target.list(LOCKS)]
    now_s = next((stored.modified_at_s for stored in found if stored.name == own), 0.0)
    for other in found:
        if other.name == own or not other.name.startswith(f"{LOCKS}{bars}"):
            continue
        if _has_expired(other, now_s) or other.name in _LEFT:
            await target.delete(other.name)
            _LEFT.discard(other.name)
            continue
        raise Conflict(
            "The backup store is in use",
            why="A backup, or a removal of old ones, is at work in it",
            todo=f"Try again later; if it was killed, its lock ends {EXPIRES_S / 60:g} minutes after that",
            code="backup-store-busy",
        )


def _has_expired(lock: Stored, now_s: float) -> bool:
    return now_s - lock.modified_at_s > EXPIRES_S


def _awake_or_not_s() -> float:
    """Seconds that pass also while the host sleeps; others' clocks go on then."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _too_late() -> HostFailure:
    return HostFailure(
        "The lock was not renewed in time",
        why="The store did not answer, or the host slept",
        todo="Start the work again",
        code="backup-lock-lost",
    )


@asynccontextmanager
async def _renewed(target: Target, name: str) -> AsyncIterator[None]:
    body = asyncio.current_task()
    assert body is not None  # noqa: S101 - a coroutine runs in a task
    lost: list[InsulaError] = []

    async def renew() -> None:
        renewed_s = _awake_or_not_s()
        while not lost:
            await asyncio.sleep(RENEWED_S)
            try:
                if _awake_or_not_s() - renewed_s > EXPIRES_S / 2:
                    raise _too_late()
                await target.put(name, b"held")
                renewed_s = _awake_or_not_s()
            except Unavailable:  # until it has not been renewed for too long
                continue
            except InsulaError as error:
                lost.append(error)
        body.cancel()

    renewing = asyncio.create_task(renew())
    try:
        yield
    except asyncio.CancelledError:
        if not lost:
            raise
        body.uncancel()
        raise HostFailure(
            "The backup store was lost in the middle of the work",
            why=str(lost[0]),
            todo="Start it again: what was stored already is not stored twice",
            code="backup-lock-lost",
        ) from lost[0]
    finally:
        renewing.cancel()
        await asyncio.wait({renewing})
