from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from insula.base.errors import Conflict, DataCorrupt, DiskFull, HostFailure, NotFound
from insula.domain.image import ImageSource, ImageState, Provisioning
from insula.domain.instance import Firmware, MachineType
from insula.node.storage.backend import BootableImage
from insula.node.storage.library import ImageLibrary
from insula.node.storage.making import Made
from insula.node.storage.manifest import ImageFacts, KernelFiles, read_manifest, verify_files
from insula.protocol.node import Progress
from tests.unit.node.storage.qcow2_files import Qcow2

FACTS = ImageFacts(
    name="small",
    title="Small",
    source=ImageSource.BUILT,
    provisioning=Provisioning.INSULA,
    has_agent=True,
    firmwares=(Firmware.BIOS, Firmware.UEFI),
    machine_types=(MachineType.Q35,),
    min_memory_mib=64,
    min_disk_gib=1,
    trust="a test",
)


class Maker:
    """Makes an image of a few bytes; `trouble` runs in the middle."""

    def __init__(self, trouble: Callable[[], object] = lambda: None, delay_s: float = 0) -> None:
        self.facts = FACTS
        self.digest = "a" * 64
        self.made = 0
        self._trouble = trouble
        self._delay_s = delay_s

    async def make(self, folder: Path, progress: Progress) -> Made:
        self.made += 1
        (folder / "kernel").write_bytes(b"kernel")
        progress("half", 50)
        await asyncio.sleep(self._delay_s)
        self._trouble()
        (folder / "disk.qcow2").write_bytes(Qcow2(size=2 << 30).file())
        return Made(version="1", kernel=KernelFiles("kernel"), command_line="quiet")


def ignore(message: str, percent: int = -1) -> None:
    pass


def names(folder: Path) -> Sequence[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".locks")


async def test_an_image_is_absent_then_ready_and_bootable(tmp_path: Path) -> None:
    library = ImageLibrary(tmp_path / "images", [Maker()])
    assert [image.state for image in await library.list()] == [ImageState.ABSENT]
    with pytest.raises(Conflict) as caught:
        await library.bootable("small")
    assert caught.value.code == "image-not-ready"
    seen: list[int] = []
    image = await library.prepare("small", lambda _, percent=-1: seen.append(percent))
    assert image.state is ImageState.READY
    assert image.min_disk_gib == 2
    assert seen == [50, 100]
    bootable = await library.bootable("small")
    assert bootable.disk.stat().st_mode & 0o777 == 0o644
    assert bootable.direct_boot is not None
    assert bootable.direct_boot.kernel.read_bytes() == b"kernel"
    assert await library.list() == [image]


async def test_preparing_again_makes_nothing_new(tmp_path: Path) -> None:
    maker = Maker()
    library = ImageLibrary(tmp_path, [maker])
    first = await library.prepare("small", ignore)
    assert await library.prepare("small", ignore) == first
    assert maker.made == 1


async def test_two_prepares_at_once_share_one_making(tmp_path: Path) -> None:
    maker = Maker(delay_s=0.3)
    libraries = [ImageLibrary(tmp_path, [maker]), ImageLibrary(tmp_path, [maker])]
    images = await asyncio.gather(*(library.prepare("small", ignore) for library in libraries))
    assert images[0] == images[1]
    assert maker.made == 1


async def test_while_it_is_made_it_is_shown_as_building(tmp_path: Path) -> None:
    library = ImageLibrary(tmp_path, [Maker(delay_s=0.3)])
    task = asyncio.create_task(library.prepare("small", ignore))
    await asyncio.sleep(0.1)
    assert [image.state for image in await library.list()] == [ImageState.BUILDING]
    await task


async def test_a_changed_recipe_makes_a_second_version_and_keeps_the_first_for_its_disks(tmp_path: Path) -> None:
    maker = Maker()
    library = ImageLibrary(tmp_path, [maker])
    await library.prepare("small", ignore)
    old = (await library.bootable("small")).disk
    maker.digest = "b" * 64
    await asyncio.sleep(1.1)  # versions are named by the second
    await library.prepare("small", ignore)
    new = (await library.bootable("small")).disk
    assert new != old
    assert old.exists()
    assert await library.remove_superseded(frozenset({old})) == []
    assert await library.remove_superseded(frozenset()) == [old.parent]
    assert new.exists()


def raise_full() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def raise_ours() -> None:
    raise HostFailure("The mirror does not answer")


@pytest.mark.parametrize(("trouble", "kind"), [(raise_full, DiskFull), (raise_ours, HostFailure)])
async def test_a_failed_making_leaves_nothing_and_is_remembered(
    tmp_path: Path, trouble: Callable[[], None], kind: type[Exception]
) -> None:
    library = ImageLibrary(tmp_path, [Maker(trouble)])
    with pytest.raises(kind):
        await library.prepare("small", ignore)
    assert names(tmp_path) == []
    [image] = await library.list()
    assert image.state is ImageState.FAILED
    assert image.problem


async def test_a_cancelled_making_leaves_nothing(tmp_path: Path) -> None:
    library = ImageLibrary(tmp_path, [Maker(delay_s=30)])
    task = asyncio.create_task(library.prepare("small", ignore))
    async with asyncio.timeout(10):
        while not names(tmp_path):
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert names(tmp_path) == []
    assert [image.state for image in await library.list()] == [ImageState.ABSENT]


async def test_what_a_killed_maker_left_is_cleaned_but_not_what_is_being_made(tmp_path: Path) -> None:
    library = ImageLibrary(tmp_path, [Maker(delay_s=0.4)])
    left = tmp_path / ".small.building-99999"
    (left / "work").mkdir(parents=True)
    assert await library.clean() == [left]
    task = asyncio.create_task(library.prepare("small", ignore))
    await asyncio.sleep(0.1)
    assert await library.clean() == []
    await task


async def test_a_damaged_image_is_shown_and_can_be_prepared_again(tmp_path: Path) -> None:
    library = ImageLibrary(tmp_path, [Maker()])
    await library.prepare("small", ignore)
    disk = (await library.bootable("small")).disk
    disk.write_bytes(b"short")
    [image] = await library.list()
    assert image.state is ImageState.FAILED
    assert "has 5 bytes instead of" in image.problem
    with pytest.raises(DataCorrupt):
        await library.bootable("small")
    await asyncio.sleep(1.1)
    assert (await library.prepare("small", ignore)).state is ImageState.READY


@pytest.mark.parametrize("text", ["", "{", "[]", '{"layout": 1}', "\0\0"])
async def test_a_broken_manifest_is_an_error_of_ours(tmp_path: Path, text: str) -> None:
    library = ImageLibrary(tmp_path, [Maker()])
    await library.prepare("small", ignore)
    folder = (await library.bootable("small")).disk.parent
    (folder / "manifest.json").write_text(text)
    with pytest.raises(DataCorrupt, match="damaged"):
        read_manifest(folder)


async def test_a_change_of_the_same_length_is_found_by_the_hash(tmp_path: Path) -> None:
    library = ImageLibrary(tmp_path, [Maker()])
    await library.prepare("small", ignore)
    folder = (await library.bootable("small")).disk.parent
    verify_files(folder)
    (folder / "kernel").write_bytes(b"kernal")
    with pytest.raises(DataCorrupt, match="kernel was changed"):
        verify_files(folder)


async def test_deleting_may_be_repeated_and_unknown_names_are_told(tmp_path: Path) -> None:
    library = ImageLibrary(tmp_path, [Maker()])
    await library.prepare("small", ignore)
    await library.delete("small")
    await library.delete("small")
    assert names(tmp_path) == []
    for attempt in (library.delete("nothing"), library.bootable("nothing"), library.prepare("nothing", ignore)):
        with pytest.raises(NotFound) as caught:
            await attempt
        assert "small" in caught.value.why


async def test_an_import_may_not_take_a_name_of_the_catalogue(tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(b"\0" * 4096)
    library = ImageLibrary(tmp_path / "images", [Maker()])
    with pytest.raises(Conflict) as caught:
        await library.import_file("small", tmp_path / "disk.raw", "raw", ignore)
    assert caught.value.code == "name-taken"


def test_only_a_real_cpu_boots_through_the_packed_kernel(tmp_path: Path) -> None:
    boot = KernelFiles("kernel", "initrd", "vmlinux", "initrd-emulated").boot(tmp_path, "quiet")
    image = replace(_bootable(tmp_path), direct_boot=boot)
    emulated, real, uefi = (
        image.boot_for(Firmware.BIOS, "tcg"),
        image.boot_for(Firmware.BIOS, "kvm"),
        image.boot_for(Firmware.UEFI, "tcg"),
    )
    assert emulated is not None
    assert uefi is not None
    assert real == boot
    assert (emulated.kernel.name, emulated.initrd and emulated.initrd.name) == ("vmlinux", "initrd-emulated")
    assert uefi.kernel.name == "kernel"
    assert "notests" in emulated.command_line
    assert "notests" not in boot.command_line
    assert _bootable(tmp_path).boot_for(Firmware.BIOS, "tcg") is None


def _bootable(folder: Path) -> BootableImage:
    return BootableImage("small", FACTS.image(ImageState.READY), folder / "disk.qcow2")


async def test_the_folder_lets_other_users_pass_but_not_look(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    os.umask(0o022)
    await ImageLibrary(folder, [Maker()]).prepare("small", ignore)
    assert folder.stat().st_mode & 0o777 == 0o711
