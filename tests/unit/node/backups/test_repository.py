"""A store as its users see it: what was written comes back, whatever is killed or damaged in between."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from insula.base.errors import (
    Conflict,
    DataCorrupt,
    Forbidden,
    HostFailure,
    InvalidInput,
    NotFound,
    Unavailable,
    Unsupported,
)
from insula.node.backups import locks, writer
from insula.node.backups.keys import Way, new_recovery_key
from insula.node.backups.repository import Repository
from insula.node.backups.sealing import CHUNK_BYTES
from insula.node.backups.tree import Tree
from insula.node.backups.writer import DiskContent, Extent

from .disks import content, disk, read_back
from .memory import Killed, MemoryTarget

KEY = new_recovery_key()
SIZE = 2000  # chunks: more than a page names


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "PACK_BYTES", 4 * CHUNK_BYTES)
    monkeypatch.setattr(writer, "_PACKS_A_PART", 2)


async def new_store() -> tuple[MemoryTarget, Repository]:
    target = MemoryTarget()
    return target, await Repository.create(target, KEY, Way.RECOVERY_KEY)


async def tree_of(repository: Repository, backup_id: str) -> Tree:
    return (await repository.backup(backup_id)).disks["disk"]


async def test_what_was_written_comes_back() -> None:
    target, repository = await new_store()
    chunks = {0: content(1), 5: content(2), 6: content(1), 1999: content(3)}
    made = await repository.write("b1", {"disk": disk(chunks, SIZE)}, {"name": "web1"})
    again = await Repository.open(target, KEY)
    (found,), damaged = await again.backups()
    assert (found, damaged) == (made, {})
    assert found.facts == {"name": "web1"}
    assert await read_back(again, found.disks["disk"]) == chunks
    assert found.added_bytes < 4 * CHUNK_BYTES  # the same content twice is stored once
    assert not target.stored(locks.LOCKS)


async def test_nothing_of_the_content_or_the_names_can_be_seen() -> None:
    target, repository = await new_store()
    text = (b"a secret of web1 " * CHUNK_BYTES)[:CHUNK_BYTES]
    await repository.write("b1", {"the-disk": disk({0: text}, 1)}, {"name": "web1"})
    everything = b"".join(target.objects.values())
    assert b"secret" not in everything
    assert b"web1" not in everything
    assert b"the-disk" not in everything


async def test_an_increment_stores_little_more_than_what_changed() -> None:
    _, repository = await new_store()
    first = await repository.write("b1", {"disk": disk({n: content(n) for n in range(200)}, 163_840)}, {})
    changed = {n: content(1000 + n) for n in range(100, 140)}
    second = await repository.write("b2", {"disk": disk(changed, 163_840, first.disks["disk"])}, {})
    assert second.added_bytes < 1.1 * 40 * CHUNK_BYTES
    assert await read_back(repository, second.disks["disk"]) == {n: content(n) for n in range(200)} | changed
    assert await read_back(repository, first.disks["disk"]) == {n: content(n) for n in range(200)}


async def test_a_range_and_the_cut_end_of_a_disk() -> None:
    _, repository = await new_store()
    end = content(9)[:1000]
    size = 3 * CHUNK_BYTES + 1000

    async def changes() -> object:
        yield Extent(0, CHUNK_BYTES, content(1))
        yield Extent(2 * CHUNK_BYTES, CHUNK_BYTES + 1000, content(2) + end)

    made = await repository.write("b1", {"disk": DiskContent(size, changes())}, {})  # type: ignore[arg-type]
    tree = made.disks["disk"]
    assert (await read_back(repository, tree))[3] == end
    pieces = [piece async for piece in repository.read(tree, 10, CHUNK_BYTES + 10)]
    assert [(piece.offset, piece.data) for piece in pieces] == [(0, content(1))]


async def test_a_range_is_read_without_the_rest() -> None:
    target, repository = await new_store()
    made = await repository.write("b1", {"disk": disk({n * 1024: content(n) for n in range(50)}, 163_840)}, {})
    before = target.requests
    at = 7 * 1024 * CHUNK_BYTES
    pieces = [piece async for piece in repository.read(made.disks["disk"], at, at + 1)]
    assert [piece.data for piece in pieces] == [content(7)]
    indexes = len(target.stored("index/"))
    assert target.requests - before == indexes + 3  # the root, one page, one chunk


async def test_a_store_that_is_away_is_not_taken_for_a_damaged_one(monkeypatch: pytest.MonkeyPatch) -> None:
    target, repository = await new_store()
    made = await repository.write("b1", {"disk": disk({0: content(0)}, SIZE)}, {})
    get = target.get

    async def away(name: str, offset: int = 0, length: int | None = None) -> bytes:
        if name.startswith("packs/"):
            raise Unavailable("The store does not answer")
        return await get(name, offset, length)

    monkeypatch.setattr(target, "get", away)
    with pytest.raises(Unavailable):
        await repository.check()
    with pytest.raises(Unavailable):
        async for _ in repository.read(made.disks["disk"], tolerant=True):
            pass


async def test_a_lock_that_is_lost_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    target, _ = await new_store()
    monkeypatch.setattr(locks, "RENEWED_S", 0.01)
    passed_s = iter([0.0, 1.0, 2.0, *[2.0 + locks.EXPIRES_S] * 100])
    monkeypatch.setattr(locks, "_awake_or_not_s", lambda: next(passed_s))
    with pytest.raises(HostFailure, match="was lost"):
        async with locks.alone(target):
            await asyncio.sleep(5)


async def test_holes_take_content_away() -> None:
    _, repository = await new_store()
    first = await repository.write("b1", {"disk": disk({n: content(n) for n in range(5)}, 10)}, {})
    second = await repository.write("b2", {"disk": disk({1: None, 2: bytes(CHUNK_BYTES)}, 10, first.disks["disk"])}, {})
    assert set(await read_back(repository, second.disks["disk"])) == {0, 3, 4}


@pytest.mark.parametrize("offset", [1, CHUNK_BYTES * 10])
async def test_changes_that_do_not_fit_are_refused_and_leave_no_backup(offset: int) -> None:
    target, repository = await new_store()

    async def changes() -> object:
        yield Extent(offset, CHUNK_BYTES, content(1))

    with pytest.raises(InvalidInput):
        await repository.write("b1", {"disk": DiskContent(10 * CHUNK_BYTES, changes())}, {})  # type: ignore[arg-type]
    assert target.stored("backups/") == target.stored(locks.LOCKS) == []


async def test_keys_are_added_and_taken_off() -> None:
    target, repository = await new_store()
    (first,) = await repository.key_names()
    await repository.add_key("a passphrase", Way.PASSPHRASE)
    await repository.remove_key(first)
    await Repository.open(target, "a passphrase")
    with pytest.raises(Forbidden):
        await Repository.open(target, KEY)
    with pytest.raises(Conflict, match="only key"):
        await repository.remove_key((await repository.key_names())[0])


async def test_what_is_no_store_is_refused() -> None:
    target = MemoryTarget()
    with pytest.raises(NotFound):
        await Repository.open(target, KEY)
    repository = await Repository.create(target, KEY, Way.RECOVERY_KEY)
    with pytest.raises(Conflict):
        await Repository.create(target, KEY, Way.RECOVERY_KEY)
    later = {**json.loads(target.objects["config"]), "format": 2}
    await target.put("config", json.dumps(later).encode())
    with pytest.raises(Unsupported, match="format 2"):
        await Repository.open(target, KEY)
    with pytest.raises(NotFound):
        await repository.backup("b1")


async def test_what_an_interrupted_backup_stored_is_found_again() -> None:
    target, repository = await new_store()
    chunks: dict[int, bytes | None] = {n: content(n) for n in range(60)}
    target.dies_at = target.writes + 14
    with pytest.raises(Killed):
        await repository.write("b1", {"disk": disk(chunks, SIZE)}, {})
    target.dies_at = None
    target.times_s = dict.fromkeys(target.times_s, 0.0)  # the dead one's lock is old
    stored = len(target.stored("packs/"))
    assert stored >= 6
    made = await repository.write("b1", {"disk": disk(chunks, SIZE)}, {})
    assert made.added_bytes < 60 * CHUNK_BYTES * 0.8
    assert await read_back(repository, made.disks["disk"]) == chunks


async def test_notes_are_kept_beside_a_backup_and_go_with_it() -> None:
    target, repository = await new_store()
    await repository.write("b1", {"disk": disk({0: content(0)}, 1)}, {})
    await repository.note("b1", {"drill": "passed"})
    await repository.note("b1", {"drill": "failed"})
    assert [note["drill"] for note in (await repository.notes("b1"))["b1"]] == ["passed", "failed"]
    for _ in range(2):
        await repository.forget(["b1"])
    assert target.stored("notes/") == target.stored("backups/") == []


async def test_a_prune_frees_what_nobody_needs() -> None:
    target, repository = await new_store()
    first = await repository.write("b1", {"disk": disk({n: content(n) for n in range(40)}, SIZE)}, {})
    kept = {n: content(n + 100) for n in range(0, 40, 2)}
    await repository.write("b2", {"disk": disk(kept, SIZE, first.disks["disk"])}, {})
    await repository.forget(["b1"])
    done = await repository.prune()
    assert done.freed_bytes > 15 * CHUNK_BYTES
    assert await repository.size_bytes() == done.kept_bytes < 1.5 * 40 * CHUNK_BYTES
    wanted = {n: content(n) for n in range(40)} | kept
    assert await read_back(repository, await tree_of(repository, "b2")) == wanted
    again = await repository.prune()
    assert (again.removed_packs, again.rewritten_packs, again.freed_bytes) == (0, 0, 0)
    await repository.forget(["b2"])
    await repository.prune()
    assert target.stored("packs/") == []


async def test_a_prune_that_is_killed_anywhere_loses_nothing() -> None:
    at = 0
    while True:
        target, repository = await new_store()
        first = await repository.write("b1", {"disk": disk({n: content(n) for n in range(24)}, SIZE)}, {})
        await repository.write(
            "b2", {"disk": disk({n: content(n + 50) for n in range(0, 24, 2)}, SIZE, first.disks["disk"])}, {}
        )
        await repository.write("b3", {"disk": disk({7: content(99)}, SIZE)}, {})
        await repository.forget(["b1"])
        target.dies_at = target.writes + at
        try:
            await repository.prune()
            ended = True
        except Killed:
            ended = False
        target.dies_at = None
        target.times_s = dict.fromkeys(target.times_s, 0.0)
        wanted = {n: content(n) for n in range(24)} | {n: content(n + 50) for n in range(0, 24, 2)}
        for _ in range(2):
            assert await read_back(repository, await tree_of(repository, "b2")) == wanted
            assert await read_back(repository, await tree_of(repository, "b3")) == {7: content(99)}
            assert (await repository.check(read_data=True)).is_whole
            await repository.prune()
        if ended:
            break
        at += 1
    assert at > 10


async def test_writers_and_a_prune_exclude_each_other() -> None:
    target, repository = await new_store()
    async with locks.shared(target), locks.shared(target):
        with pytest.raises(Conflict, match="in use"):
            await repository.prune()
    async with locks.alone(target):
        for work in (repository.prune(), repository.write("b1", {}, {}), repository.check()):
            with pytest.raises(Conflict, match="in use"):
                await work
    target.objects[f"{locks.LOCKS}alone-dead"] = b"held"
    target.times_s[f"{locks.LOCKS}alone-dead"] = 1.0
    await repository.write("b1", {}, {})
    assert target.stored(locks.LOCKS) == []


def broken(data: bytes, how: str, at: int) -> bytes | None:
    if how == "gone":
        return None
    if how == "cut":
        return data[: at % len(data)]
    return data[: at % len(data)] + bytes([data[at % len(data)] ^ 0x40]) + data[at % len(data) + 1 :]


@given(which=st.integers(0, 10_000), how=st.sampled_from(["gone", "cut", "flipped"]), at=st.integers(0, 1 << 20))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_damage_is_named_and_the_rest_comes_back(which: int, how: str, at: int) -> None:
    target, repository = await new_store()
    wanted: dict[str, dict[int, bytes | None]] = {}
    for number, first in enumerate((0, 40, 900)):
        chunks: dict[int, bytes | None] = {n: content(1000 * number + n) for n in range(first, first + 12)}
        await repository.write(f"b{number}", {"disk": disk(chunks, SIZE)}, {})
        wanted[f"b{number}"] = chunks
    names = [*target.stored("packs/"), *target.stored("index/"), *target.stored("backups/")]
    name = names[which % len(names)]
    left = broken(target.objects.pop(name), how, at)
    if left is not None:
        target.objects[name] = left
    found = await repository.check(read_data=True)
    named = {each.name for each in found.objects} | {f"backups/{each}" for each in found.lost_backups}
    if not (name.startswith(("backups/", "index/")) and how == "gone"):
        assert name in named  # a manifest or an index that is gone leaves no trace
    hit = {each.backup: each.ranges for each in found.disks}
    backups, damaged = await repository.backups()
    assert set(damaged) == set(found.lost_backups)
    for backup in backups:
        pieces = [piece async for piece in repository.read(backup.disks["disk"], tolerant=True)]
        lost = [(piece.offset, piece.offset + piece.length) for piece in pieces if piece.lost]
        whole = {piece.offset // CHUNK_BYTES: piece.data for piece in pieces if not piece.lost}
        assert bool(lost) == (backup.id in hit)
        if not lost:
            assert whole == wanted[backup.id]
            continue
        assert all(any(b <= begin and end <= e for b, e in hit[backup.id]) for begin, end in lost)
        assert all(data == wanted[backup.id][n] for n, data in whole.items())
        with pytest.raises(DataCorrupt):
            await read_back(repository, backup.disks["disk"])
    await heals(repository, {backup.id: wanted[backup.id] for backup in backups})


async def heals(repository: Repository, wanted: dict[str, dict[int, bytes | None]]) -> None:
    """A prune makes nothing worse; once repaired, content that is stored again is there again."""
    with contextlib.suppress(DataCorrupt):
        await repository.prune()
    await repository.repair()
    for number, chunks in enumerate(wanted.values()):
        made = await repository.write(f"again{number}", {"disk": disk(chunks, SIZE)}, {})
        assert await read_back(repository, made.disks["disk"]) == chunks
    for backup_id, chunks in wanted.items():
        with contextlib.suppress(DataCorrupt):  # a page of its map may be lost
            assert await read_back(repository, await tree_of(repository, backup_id)) == chunks
    for lost_backup in (await repository.check()).lost_backups:
        await repository.forget([lost_backup])
    left = (await repository.check(read_data=True)).objects  # whole parts of a damaged pack are still of use
    assert not any(each.chunks for each in left)


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.dictionaries(st.integers(0, 30), st.integers(0, 5), max_size=8)),
            st.tuples(st.just("forget"), st.integers(0, 5)),
            st.tuples(st.just("prune"), st.integers(0, 12)),
        ),
        max_size=10,
    )
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_history_keeps_each_backup_whole(steps: list[tuple[str, object]]) -> None:
    target, repository = await new_store()
    model: dict[str, dict[int, bytes]] = {}
    for number, (verb, what) in enumerate(steps):
        if verb == "write":
            assert isinstance(what, dict)
            parent_id = max(model, default="")
            parent = await tree_of(repository, parent_id) if parent_id else None
            chunks: dict[int, bytes | None] = {n: content(seed) if seed else None for n, seed in what.items()}
            await repository.write(f"b{number:02}", {"disk": disk(chunks, SIZE, parent)}, {})
            merged = {**model.get(parent_id, {}), **chunks}
            model[f"b{number:02}"] = {n: data for n, data in merged.items() if data is not None}
        elif verb == "forget" and model:
            assert isinstance(what, int)
            gone = sorted(model)[what % len(model)]
            await repository.forget([gone])
            del model[gone]
        elif verb == "prune":
            assert isinstance(what, int)
            target.dies_at = target.writes + what
            with contextlib.suppress(Killed):
                await repository.prune()
            target.dies_at = None
            target.times_s = dict.fromkeys(target.times_s, 0.0)
    for backup_id, wanted in model.items():
        assert await read_back(repository, await tree_of(repository, backup_id)) == wanted
    assert (await repository.check(read_data=True)).is_whole
