"""What a machine boots that cleans a disk, and what its console must say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from insula.base.errors import GuestFailure, Unsupported
from insula.domain.image import ImageSource, ImageState, Provisioning
from insula.node.storage.backend import BootableImage, KernelBoot
from insula.node.storage.generalising import check_console, check_publishable, write_initrd
from insula.node.storage.recipes.tiny import Tiny

_IMAGE = Tiny.facts.image(ImageState.READY)


def test_our_init_comes_after_the_images_own(tmp_path: Path) -> None:
    (tmp_path / "initrd").write_bytes(b"070701 of the image")
    boot = KernelBoot(tmp_path / "kernel", tmp_path / "initrd", "console=ttyS0")
    image = BootableImage("tiny", _IMAGE, tmp_path / "disk.qcow2", boot)
    line = write_initrd(image, "tcg", tmp_path / "made")
    made = (tmp_path / "made").read_bytes()
    assert line == "console=ttyS0 cryptomgr.notests insula.task=generalise"
    assert made.startswith(b"070701 of the image\0")
    # A kernel finds an archive at a multiple of four bytes.
    assert made.index(b"070701", 1) % 4 == 0
    assert made.index(b"init\0") < made.index(b"generalise\0") < made.index(b"TRAILER!!!")
    with pytest.raises(Unsupported):
        write_initrd(replace(image, direct_boot=None), "tcg", tmp_path / "made")


@pytest.mark.parametrize(
    ("console", "why"),
    [
        ("[    0.1] Linux\r\ninsula-generalise: done\r\n", ""),
        ("insula-generalise: done\r\n[    9.9] reboot: Power down\r\n", ""),
        ("insula-generalise: it was not cleaned\r\n", "it was not cleaned"),
        ("insula-generalise: done\r\ninsula-generalise: its root file system is busy", "busy"),
        ("Kernel panic - not syncing", "ended early: Kernel panic"),
        ("", "ended early"),
    ],
)
def test_only_the_last_word_counts(console: str, why: str) -> None:
    if not why:
        check_console("tiny", console)
        return
    with pytest.raises(GuestFailure, match=why) as caught:
        check_console("tiny", console)
    assert caught.value.code == "generalise-failed"


def test_only_what_we_built_is_cleaned() -> None:
    check_publishable(_IMAGE)
    check_publishable(replace(_IMAGE, source=ImageSource.PUBLISHED))
    for strange in (
        replace(_IMAGE, source=ImageSource.IMPORTED),
        replace(_IMAGE, source=ImageSource.DOWNLOADED),
        replace(_IMAGE, provisioning=Provisioning.CLOUD_INIT),
        replace(_IMAGE, has_agent=False),
    ):
        with pytest.raises(Unsupported):
            check_publishable(strange)
