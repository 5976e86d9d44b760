"""The node's own copies: damaged ones are told by name, and cost nobody else anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from insula.base.errors import DataCorrupt, InvalidInput, NotFound
from insula.node.agent.records import BootRecord, InstanceRecord, Records
from insula.node.hypervisor.fake.driver import FakeDriver
from insula.node.storage.memory import MemoryImages
from insula.protocol.node import InstanceSpec, Power

from .conftest import make_node, no_phase, quiet

NewSpec = Callable[..., InstanceSpec]


@pytest.fixture
def records(tmp_path: Path) -> Records:
    made = Records(tmp_path)
    made.make_folder()
    return made


async def test_a_record_comes_back_as_it_was(records: Records, new_spec: NewSpec, tmp_path: Path) -> None:
    images = MemoryImages(tmp_path / "images")
    await images.prepare("tiny", quiet)
    record = InstanceRecord(
        new_spec(user_data="#cloud-config\nä"),
        desired_on=True,
        uid=5,
        image=await images.bootable("tiny"),
        restarts=2,
        boot=BootRecord(1.5, 10),
    )
    records.save(record)
    assert records.load(record.spec.id) == record
    assert records.ids() == [record.spec.id]
    modes = [path.stat().st_mode & 0o077 for path in records.folder_of(record.spec.id).iterdir()]
    assert modes == [0, 0], "user-data may hold secrets"


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b'{"digest": "0", "record": {}}', b"[]"])
def test_a_damaged_record_is_replaced_by_its_backup(records: Records, new_spec: NewSpec, damage: bytes) -> None:
    record = InstanceRecord(new_spec())
    records.save(record)
    main = records.folder_of(record.spec.id) / "spec.json"
    main.write_bytes(damage)
    assert records.load(record.spec.id) == record
    assert main.read_bytes() != damage, "it is mended"


def test_one_flipped_bit_is_noticed(records: Records, new_spec: NewSpec) -> None:
    record = InstanceRecord(new_spec(name="aaaa"))
    records.save(record)
    for name in ("spec.json", "spec.json.backup"):
        path = records.folder_of(record.spec.id) / name
        path.write_bytes(path.read_bytes().replace(b"aaaa", b"aaab"))
    with pytest.raises(DataCorrupt, match="is damaged") as caught:
        records.load(record.spec.id)
    assert str(records.folder_of(record.spec.id) / "spec.json") in caught.value.why
    assert "checksum" in caught.value.why


def test_what_is_no_id_is_no_path(records: Records, new_spec: NewSpec) -> None:
    for text in ("", "..", "../../etc", "ins_x", "op_01hq4z3p5x1aaaaaaaaaaaaaaa"):
        with pytest.raises(InvalidInput):
            records.folder_of(text)
    with pytest.raises(NotFound):
        records.load(new_spec().id)


async def test_one_damaged_record_does_not_stop_the_others(folder: Path, new_spec: NewSpec) -> None:
    good, bad = new_spec(), new_spec()
    async with make_node(folder) as node:
        await node.prepare_image("tiny", quiet)
        for spec in (good, bad):
            await node.configure(spec)
            await node.make_disk(spec)
            await node.start(spec.id)
            await node.await_ready(spec.id, 5, no_phase)
    for name in ("spec.json", "spec.json.backup"):
        (folder / "instances" / bad.id / name).write_text("{")
    async with make_node(folder, FakeDriver()) as node:
        reports = {report.id: report for report in await node.observe()}
        assert reports[good.id].power is Power.ON
        assert "is damaged" in reports[bad.id].problem
        with pytest.raises(DataCorrupt):
            await node.start(bad.id)
        await node.configure(bad)  # control's copy heals it
        assert "is damaged" not in str(await node.observe())
        await node.forget(bad.id)
        assert not (folder / "instances" / bad.id).exists()
