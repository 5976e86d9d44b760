"""Our own initial root file system: one busybox, a few modules, one short script.

A distribution's generic one is 30 MB and costs an emulated guest ten seconds; this one is loaded by the hypervisor
together with the kernel, finds the disk by its label, tells the guest who it is, and steps aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from insula.node.storage.recipes import cpio
from insula.node.storage.recipes.modules import EARLY_MODULES, load_order, without_signature
from insula.node.storage.recipes.tree import FILES

ROOT_LABEL = "insula-root"

_FOLDERS = ("bin", "dev", "proc", "sys", "run", "root", "modules")


def initrd_entries(busybox: bytes, init: bytes, modules: Sequence[tuple[str, bytes]]) -> list[cpio.Entry]:
    """Everything in it. `modules` are (file name, contents) in the order in which they load."""
    entries = [cpio.folder(name) for name in _FOLDERS]
    entries += [
        cpio.character_device("dev/console", 5, 1),
        cpio.character_device("dev/null", 1, 3),
        cpio.file("bin/busybox", busybox, executable=True),
        cpio.link("bin/sh", "busybox"),
        cpio.file("init", init, executable=True),
        cpio.file("modules/order", "".join(f"{name}\n" for name, _ in modules).encode()),
    ]
    return entries + [cpio.file(f"modules/{name}", data) for name, data in modules]


def write_initrd(target: Path, *, busybox: Path, modules_folder: Path, signed: bool = True) -> None:
    """Write the archive, uncompressed: the hypervisor hands it over by memory copy, and emulated CPUs unpack slowly.

    With `signed=False` the modules lose their signatures, which an emulated CPU needs a second to check; the kernel
    then marks itself as tainted (E).
    """
    keep = bytes if signed else without_signature
    modules = [(path.name, keep(path.read_bytes())) for path in load_order(modules_folder, EARLY_MODULES)]
    entries = initrd_entries(busybox.read_bytes(), (FILES / "initrd" / "init").read_bytes(), modules)
    with target.open("wb") as out:
        cpio.write(out, entries)
