"""What machines say of themselves, and which guests have a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from insula.domain.image import Provisioning
from insula.domain.instance import Platform, Resources
from insula.node.agent import Node
from insula.node.agent.platforms import needs_seed, plate_of, platform_of
from insula.node.storage.backend import BootableImage
from insula.node.storage.memory import MemoryImages
from insula.protocol.node import InstanceSpec

from .conftest import quiet

_SPEC = InstanceSpec("ins_1", "default", "web1", "web1", "mine", Resources(1, 512, 10, 100), number=4711)
_VENDORS = (Platform.DIGITALOCEAN, Platform.AKAMAI, Platform.EC2)


async def _image(folder: Path, platform: Platform, provisioning: Provisioning) -> BootableImage:
    file = folder / "disk.qcow2"
    file.touch()
    images = MemoryImages(folder / "images")
    await images.import_file("mine", file, "qcow2", quiet, platform=platform)
    found = await images.bootable("mine")
    return replace(found, image=replace(found.image, provisioning=provisioning))


async def test_the_image_decides_unless_the_instance_does(tmp_path: Path) -> None:
    image = await _image(tmp_path, Platform.AKAMAI, Provisioning.CLOUD_INIT)
    assert platform_of(Platform.AUTO, image) is Platform.AKAMAI
    assert platform_of(Platform.EC2, image) is Platform.EC2
    assert platform_of(Platform.NOCLOUD, image) is Platform.NOCLOUD


@pytest.mark.parametrize("platform", _VENDORS)
async def test_a_guest_that_shall_ask_its_platform_sees_no_seed(platform: Platform, tmp_path: Path) -> None:
    image = await _image(tmp_path, platform, Provisioning.CLOUD_INIT)
    assert not needs_seed(_SPEC, image)
    assert plate_of(_SPEC, image) is not None
    assert needs_seed(replace(_SPEC, platform=Platform.NOCLOUD), image)
    assert plate_of(replace(_SPEC, platform=Platform.NOCLOUD), image) is None


@pytest.mark.parametrize("platform", _VENDORS)
async def test_our_own_images_always_have_theirs(platform: Platform, tmp_path: Path) -> None:
    image = await _image(tmp_path, Platform.NOCLOUD, Provisioning.INSULA)
    assert needs_seed(replace(_SPEC, platform=platform), image)
    assert not needs_seed(_SPEC, await _image(tmp_path, platform, Provisioning.NONE))


async def test_the_seed_comes_and_goes_with_the_platform(
    node: Node, new_spec: Callable[..., InstanceSpec], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = await _image(tmp_path, Platform.EC2, Provisioning.CLOUD_INIT)

    async def bootable(_: str) -> BootableImage:
        return image

    monkeypatch.setattr(node._parts.images, "bootable", bootable)
    spec = new_spec()
    seed = folder / "instances" / spec.id / "seed.iso"
    for wanted, has_seed in ((Platform.AUTO, False), (Platform.NOCLOUD, True), (Platform.AKAMAI, False)):
        await node.configure(replace(spec, platform=wanted))
        await node.make_disk(replace(spec, platform=wanted))
        assert seed.exists() is has_seed
        await node.remove_disk(spec.id)
