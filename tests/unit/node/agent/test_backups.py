"""Backups on a node, over the fake driver: made, repeated, gone on with, restored, and what is left of killed ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from insula.base.errors import Conflict, DataCorrupt, Forbidden, InsulaError, InvalidInput, NotFound
from insula.domain.backup import Drill, StoreKind, StorePlace
from insula.domain.ids import Kind, new_id
from insula.domain.instance import Resources
from insula.domain.snapshot import Consistency
from insula.node.agent import Node
from insula.node.backups import locks
from insula.node.backups.limited import LimitedTarget
from insula.node.backups.target import Target
from insula.protocol.backups import StoreSecret, StoreSpec
from insula.protocol.node import InstanceSpec

from .conftest import make_node, no_phase, quiet
from .test_forks import booted, points, said, write

NewSpec = Callable[..., InstanceSpec]
NO_SECRET = StoreSecret()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    place = tmp_path / "store"
    place.mkdir()
    return place


def at(folder: Path) -> StoreSpec:
    return StoreSpec(new_id(Kind.STORE), StorePlace(StoreKind.FOLDER, str(folder)))


def new_backup() -> str:
    return new_id(Kind.BACKUP)


async def restored(node: Node, spec: InstanceSpec, store: str, backup: str) -> None:
    await node.configure(spec)
    await node.make_disk_from_backup(spec, store, backup, quiet)
    await node.make_disk_from_backup(spec, store, backup, quiet)
    await node.start(spec.id)
    await node.await_ready(spec.id, 10, no_phase)


async def test_an_instance_comes_back_under_another_name(node: Node, new_spec: NewSpec, elsewhere: Path) -> None:
    spec, store, backup = new_spec(), at(elsewhere), new_backup()
    await booted(node, spec)
    await write(node, spec, "/root/file", "then")
    opened = await node.open_store(store, NO_SECRET)
    assert opened.is_new
    report = await node.make_backup(spec.id, backup, store.id, quiet)
    assert (report.consistency, report.based_on) == (Consistency.FILESYSTEM, "")
    assert report.added_bytes > 0
    assert await node.make_backup(spec.id, backup, store.id, quiet) == report
    await write(node, spec, "/root/file", "later")
    other = new_spec(name="other")
    await restored(node, other, store.id, backup)
    assert await said(node, other, "cat", "/root/file") == "then"
    assert await said(node, spec, "cat", "/root/file") == "later"


async def test_the_next_one_tells_what_it_is_based_on(node: Node, new_spec: NewSpec, elsewhere: Path) -> None:
    spec, store = new_spec(), at(elsewhere)
    first, second = new_backup(), new_backup()
    await booted(node, spec)
    await node.open_store(store, NO_SECRET)
    await node.make_backup(spec.id, first, store.id, quiet)
    assert (await node.make_backup(spec.id, second, store.id, quiet)).based_on == first
    assert [backup.id for backup in await node.stored_backups(store.id)] == [first, second]


async def test_what_is_kept_for_it_goes_with_the_instance(
    node: Node, new_spec: NewSpec, elsewhere: Path, folder: Path
) -> None:
    spec, store, backup = new_spec(), at(elsewhere), new_backup()
    await booted(node, spec)
    await node.open_store(store, NO_SECRET)
    await node.make_backup(spec.id, backup, store.id, quiet)
    assert len(points(folder)) == 1
    await node.forget(spec.id)
    assert points(folder) == []
    assert [found.id for found in await node.stored_backups(store.id)] == [backup]


async def test_a_backup_that_was_cut_off_goes_on_from_the_same_instant(
    folder: Path, new_spec: NewSpec, elsewhere: Path
) -> None:
    spec, store, backup = new_spec(), at(elsewhere), new_backup()
    async with make_node(folder) as node:
        await node.prepare_image("tiny", quiet)
        await booted(node, spec)
        await write(node, spec, "/root/file", "then")
        await node.open_store(store, NO_SECRET)
        (elsewhere / "config").rename(elsewhere / "gone")
        with pytest.raises(NotFound):
            await node.make_backup(spec.id, backup, store.id, quiet)
        (elsewhere / "gone").rename(elsewhere / "config")
        async with node._held(spec.id) as keeper:
            await node._backups.freeze(keeper, backup, store.id)
        await write(node, spec, "/root/file", "later")
    async with make_node(folder) as node:
        await node.make_backup(spec.id, backup, store.id, quiet)
        other = new_spec(name="other")
        await restored(node, other, store.id, backup)
        assert await said(node, other, "cat", "/root/file") == "then"


async def test_a_host_that_lost_everything_gets_them_back(
    folder: Path, new_spec: NewSpec, elsewhere: Path, tmp_path: Path
) -> None:
    spec, store, backup = new_spec(), at(elsewhere), new_backup()
    async with make_node(folder) as node:
        await node.prepare_image("tiny", quiet)
        await booted(node, spec)
        key = (await node.open_store(store, NO_SECRET)).recovery_key
        await node.make_backup(spec.id, backup, store.id, quiet)
    async with make_node(tmp_path / "another") as node:
        with pytest.raises(Forbidden, match="no key"):
            await node.open_store(at(elsewhere), NO_SECRET)
        opened = await node.open_store(again := at(elsewhere), StoreSecret(recovery_key=key))
        assert (opened.is_new, opened.backups) == (False, 1)
        (found,) = await node.stored_backups(again.id)
        assert found.spec == spec
        assert found.consistency is Consistency.FILESYSTEM


async def test_a_drill_is_told_of_with_its_backup(node: Node, new_spec: NewSpec, elsewhere: Path) -> None:
    spec, store, backup = new_spec(), at(elsewhere), new_backup()
    await booted(node, spec)
    await node.open_store(store, NO_SECRET)
    await node.make_backup(spec.id, backup, store.id, quiet)
    drill = Drill(datetime.now(UTC).replace(microsecond=0), True, 1200, "pg_amcheck", 0, "fine\n", "login:")
    await node.note_drill(store.id, backup, drill)
    assert list((await node.stored_backups(store.id))[0].drills) == [drill]


async def test_the_size_must_do(
    node: Node, new_spec: NewSpec, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, store, backup = new_spec(), at(elsewhere), new_backup()
    await booted(node, spec)
    await node.open_store(store, NO_SECRET)
    await node.make_backup(spec.id, backup, store.id, quiet)
    small = replace(new_spec(name="small"), resources=Resources(1, 64, 0, 100))
    await node.configure(small)
    with pytest.raises(InvalidInput, match="too small"):
        await node.make_disk_from_backup(small, store.id, backup, quiet)


async def test_it_is_removed_from_the_store(node: Node, new_spec: NewSpec, elsewhere: Path, folder: Path) -> None:
    spec, store, backup = new_spec(), at(elsewhere), new_backup()
    await booted(node, spec)
    await node.open_store(store, NO_SECRET)
    await node.make_backup(spec.id, backup, store.id, quiet)
    for _ in range(2):
        await node.remove_backups(store.id, [backup])
    assert await node.stored_backups(store.id) == []
    assert list((folder / "backups" / "points").iterdir()) == []
    assert await node.prune_store(store.id) > 0
    assert (await node.check_store(store.id, True)).is_whole
    with pytest.raises(NotFound):
        await node.make_disk_from_backup(new_spec(name="other"), store.id, backup, quiet)


async def test_backups_go_on_in_a_store_that_was_repaired(node: Node, new_spec: NewSpec, elsewhere: Path) -> None:
    spec, store, first, second, third = new_spec(), at(elsewhere), new_backup(), new_backup(), new_backup()
    await booted(node, spec)
    await node.open_store(store, NO_SECRET)
    await node.make_backup(spec.id, first, store.id, quiet)
    for pack in (path for path in (elsewhere / "packs").rglob("*") if path.is_file()):
        pack.unlink()
    with pytest.raises(DataCorrupt, match="is gone"):  # it counts on what is there no more
        await node.make_backup(spec.id, second, store.id, quiet)
    assert {each.id for each in (await node.check_store(store.id, False)).backups} == {first}
    assert await node.repair_store(store.id) > 0
    await node.make_backup(spec.id, third, store.id, quiet)
    # What the disk was at the first one is lost: it is another one by now.
    assert {each.id for each in (await node.check_store(store.id, True)).backups} <= {first}
    await node.make_disk_from_backup(new_spec(name="other"), store.id, third, quiet)
    assert await node.repair_store(store.id) == 0


async def test_a_store_lies_elsewhere(node: Node, folder: Path) -> None:
    for place in (folder / "backups", Path("relative")):
        with pytest.raises(InvalidInput, match="cannot hold"):
            await node.open_store(at(place), NO_SECRET)


async def test_secrets_are_for_nobody_else_and_not_told(node: Node, folder: Path, elsewhere: Path) -> None:
    store = at(elsewhere)
    opened = await node.open_store(store, StoreSecret(secret_key="hunter2"))
    for path in (folder / "backups" / "stores").iterdir():
        assert path.stat().st_mode & 0o077 == 0
    assert opened.recovery_key not in repr(opened)
    assert "hunter2" not in repr(StoreSecret(secret_key="hunter2"))
    assert await node.store_key(store.id) == opened.recovery_key
    await node.forget_store(store.id)
    with pytest.raises(NotFound):
        await node.store_key(store.id)


async def test_a_damaged_store_of_which_nothing_is_known(node: Node, folder: Path, elsewhere: Path) -> None:
    store = at(elsewhere)
    await node.open_store(store, NO_SECRET)
    record = folder / "backups" / "stores" / f"{store.id}.json"
    record.write_text(json.dumps({"spec": 1}))
    with pytest.raises(InsulaError, match="is damaged"):
        await node.store_key(store.id)


async def test_what_is_kept_for_a_backup_that_nobody_knows_is_left_over(
    node: Node, new_spec: NewSpec, elsewhere: Path, folder: Path
) -> None:
    spec, store = new_spec(), at(elsewhere)
    known, unknown = new_backup(), new_backup()
    await booted(node, spec)
    await node.open_store(store, NO_SECRET)
    for backup in (known, unknown):
        async with node._held(spec.id) as keeper:
            await node._backups.freeze(keeper, backup, store.id)
    assert await node.leftovers(frozenset({spec.id, known, unknown}), remove=True) == []
    node._backups._at_work.add(unknown)
    assert await node.leftovers(frozenset({spec.id, known}), remove=True) == []
    node._backups._at_work.clear()
    for remove in (False, True):
        (found,) = await node.leftovers(frozenset({spec.id, known}), remove=remove)
        assert (Path(found.name).stem, found.removed) == (unknown, remove)
    assert [path.stem for path in (folder / "backups" / "points").iterdir()] == [known]
    assert (await node.make_backup(spec.id, known, store.id, quiet)).added_bytes > 0


async def test_who_finds_locks_of_a_killed_service_takes_none_of_this_one(
    node: Node, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, looks = at(elsewhere), 0
    await node.open_store(store, NO_SECRET)
    remove_of = locks.remove_of

    async def slow(target: Target, owner: str) -> int:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0.05)
        return await remove_of(target, owner)

    monkeypatch.setattr(locks, "remove_of", slow)
    await asyncio.gather(*(node.stored_backups(store.id) for _ in range(3)))
    assert looks == 1


async def test_all_work_in_a_store_keeps_to_its_limit_together(node: Node, elsewhere: Path) -> None:
    store = replace(at(elsewhere), rate_mib_s=3)
    await node.open_store(store, NO_SECRET)
    stores = node._backups.stores
    async with stores.opened(store.id) as one, stores.opened(store.id) as other:
        assert isinstance(one._target, LimitedTarget)
        assert isinstance(other._target, LimitedTarget)
        assert one._target._pace is other._target._pace
    await node.open_store(replace(store, rate_mib_s=5), NO_SECRET)
    assert one._target._pace.bytes_a_second == 5 << 20


async def test_two_at_once_are_one(node: Node, new_spec: NewSpec, elsewhere: Path) -> None:
    spec, store, backup = new_spec(), at(elsewhere), new_backup()
    await booted(node, spec)
    await node.open_store(store, NO_SECRET)
    async with node._held(spec.id) as keeper:
        point = await node._backups.freeze(keeper, backup, store.id)
    node._backups._at_work.add(backup)
    with pytest.raises(Conflict, match="being made"):
        await node.make_backup(spec.id, backup, store.id, quiet)
    node._backups._at_work.clear()
    assert (await node._backups.store(point, quiet)).added_bytes > 0
