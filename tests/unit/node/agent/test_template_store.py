"""The folder of templates: what is found, told about and removed; on the fake driver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from insula.base.clock import now_utc
from insula.domain.instance import Resources
from insula.node.agent import Node
from insula.node.agent.template_memory import TemplateMemories
from insula.node.runtime import shared_memory
from insula.node.storage.template import Template, TemplateFacts
from insula.protocol.node import InstanceSpec

from .conftest import ASKED, make_node, no_phase, quiet
from .test_templates import first_boot, left_in, phases

NewSpec = Callable[..., InstanceSpec]


@pytest.mark.parametrize("name", ["devices", "memory", "disk.qcow2", "template.json"])
async def test_a_damaged_template_is_removed(node: Node, new_spec: NewSpec, folder: Path, name: str) -> None:
    spec = new_spec()
    template = await node.make_template(spec)
    (template.folder / name).write_bytes(b"{}")
    assert phases(await first_boot(node, spec))[0] == "firmware"
    assert left_in(folder) == []
    assert (await node.make_template(spec)).key == template.key


async def test_a_damaged_template_keeps_the_disk_that_an_instance_needs(
    node: Node, new_spec: NewSpec, folder: Path
) -> None:
    spec = new_spec()
    template = await node.make_template(spec)
    await first_boot(node, spec)
    template.devices.write_bytes(b"damaged")
    assert phases(await first_boot(node, new_spec(name="web2")))[0] == "firmware"
    assert template.disk.exists()
    assert not template.memory.exists()
    anew = await node.make_template(spec)
    assert (anew.key, anew.name) == (template.key, f"{template.key}-2")
    assert phases(await first_boot(node, new_spec(name="web3"))) == ["renew", "ready"]
    assert left_in(folder) == [template.name, anew.name]
    assert sorted(path.name for path in template.folder.iterdir()) == ["disk.qcow2"]


async def test_a_mere_disk_goes_when_no_instance_needs_it(folder: Path, new_spec: NewSpec) -> None:
    spec = new_spec()
    async with make_node(folder) as node:
        await node.prepare_image("tiny", quiet)
        template = await node.make_template(spec)
        await first_boot(node, spec)
        template.devices.write_bytes(b"damaged")
        anew = await node.make_template(spec)
    async with make_node(folder) as node:
        assert left_in(folder) == [template.name, anew.name]
        await node.forget(spec.id)
    async with make_node(folder):
        assert left_in(folder) == [anew.name]


async def test_an_instance_that_was_made_from_the_damaged_one_boots(node: Node, new_spec: NewSpec) -> None:
    spec = new_spec()
    template = await node.make_template(spec)
    await node.configure(spec)
    await node.make_disk(spec)
    template.devices.write_bytes(b"damaged")
    await node.make_template(spec)
    await node.start(spec.id)
    assert phases(await node.await_ready(spec.id, 10, no_phase))[0] == "firmware"


async def test_images_tell_of_their_templates(node: Node, new_spec: NewSpec) -> None:
    assert [image.templates for image in await node.images() if image.templates] == []
    await node.make_template(new_spec())
    larger = new_spec(resources=Resources(vcpus=2, memory_mib=256, disk_gib=3, cpu_percent=100))
    await node.make_template(larger)
    first = new_spec()
    await first_boot(node, first)
    (image,) = [image for image in await node.images() if image.templates]
    assert image.name == "tiny"
    latest, other = image.templates
    assert (latest.vcpus, latest.memory_mib, latest.disk_gib) == (1, 128, 2), "the latest used is the first"
    assert latest.used_at > other.used_at > latest.made_at
    assert latest.in_memory
    check = (await node.doctor())[-1]
    assert (check.name, check.verdict) == ("templates", "ok")
    assert "There are 2" in check.detail


async def test_beyond_the_disk_budget_the_least_recently_used_go(folder: Path, new_spec: NewSpec) -> None:
    def sized(memory_mib: int) -> InstanceSpec:
        return new_spec(resources=Resources(vcpus=1, memory_mib=memory_mib, disk_gib=2, cpu_percent=100))

    needed = sized(64)
    async with make_node(folder) as node:
        await node.prepare_image("tiny", quiet)
        made = {size_mib: await node.make_template(sized(size_mib)) for size_mib in (64, 65, 66)}
        await first_boot(node, needed)
        size_bytes = next(image.templates[0].size_bytes for image in await node.images() if image.templates)
    three = replace(ASKED, disk_gib=3.5 * size_bytes / 2**30)
    async with make_node(folder, templates=three) as node:
        newest = await node.make_template(sized(67))
        assert set(left_in(folder)) == {made[64].name, made[66].name, newest.name}
    async with make_node(folder, templates=replace(three, disk_gib=size_bytes / 2**31)):
        assert set(left_in(folder)) == {made[64].name, newest.name}
        assert made[64].disk.exists(), "an instance needs it"
        assert not made[64].memory.exists()


async def test_templates_of_a_superseded_image_go_when_no_disk_needs_them(
    folder: Path, new_spec: NewSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = new_spec()
    async with make_node(folder) as node:
        await node.prepare_image("tiny", quiet)
        template = await node.make_template(spec)
        await first_boot(node, spec)
    async with make_node(folder) as node:
        assert left_in(folder) == [template.name]
    (folder / "images" / "tiny.json").unlink()
    async with make_node(folder) as node:
        assert left_in(folder) == [template.name], "an instance's disk is based on it"
        await node.forget(spec.id)
    async with make_node(folder):
        assert left_in(folder) == []


async def test_templates_go_with_their_image(node: Node, new_spec: NewSpec, folder: Path) -> None:
    await node.make_template(new_spec())
    await node.delete_image("tiny")
    assert left_in(folder) == []


async def test_memories_stay_open_within_a_budget_the_least_recently_used_go(tmp_path: Path) -> None:
    templates = [_with_memory(tmp_path / str(number), number) for number in range(3)]
    memories = TemplateMemories(budget_mib=2)
    for template in (*templates[:2], templates[0], templates[2]):
        async with memories.lent(template) as memory:
            assert shared_memory.is_sealed(memory.fd)
    assert memories.names == (templates[0].name, templates[2].name)
    async with memories.lent(templates[1]):
        assert memories.names == (templates[2].name, templates[1].name)
    memories.close()
    assert not memories.names


def _with_memory(folder: Path, number: int) -> Template:
    folder.mkdir()
    (folder / "memory").write_bytes(b"x" * (1 << 20))
    return Template(folder, TemplateFacts(f"{number:064}", "tiny", "/disk", 1, 1, 2, now_utc(), {}))
