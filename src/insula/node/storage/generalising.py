"""What a machine boots that takes out of a disk what is one instance's own, so that it can be an image.

It is the image's own kernel with our initial root, whose first program is another one: none of what a guest left on the
disk runs, so it writes nothing either. A kernel unpacks archives that follow each other, later files over earlier ones
(its `Documentation/driver-api/early-userspace/buffer-format.rst`): so every image that we built can boot like this.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from insula.base.errors import GuestFailure, Unsupported
from insula.domain.image import Image, ImageSource, Provisioning
from insula.node.storage.backend import BootableImage
from insula.node.storage.recipes import cpio

TASK = "insula.task=generalise"  # on the kernel's command line, for whoever looks at the machine
DONE = "insula-generalise: done"
_MARK = "insula-generalise: "
_FILES = Path(__file__).parent / "generalise"
_TAIL_LINES = 8


def check_publishable(image: Image) -> None:
    """Raise :class:`Unsupported` unless instances of this image can become images."""
    is_strange = image.source in {ImageSource.IMPORTED, ImageSource.DOWNLOADED}
    if is_strange or image.provisioning is not Provisioning.INSULA or not image.has_agent:
        raise no_publishing(image.name)


def no_publishing(image: str) -> Unsupported:
    """Why instances of this image cannot become images."""
    return Unsupported(
        f"Instances of {image} cannot be published as images",
        why="What is one instance's own can be taken out of systems only that Insula built, and it did not build this",
        todo="Publish an instance of debian-12, tiny or an image that was published from one; or clean it up yourself "
        "and import its disk",
        code="cannot-publish",
    )


def write_initrd(image: BootableImage, accelerator: str, target: Path) -> str:
    """Write the initial root of the machine that does it; returns its kernel's command line.

    Blocking: copies some megabytes. Raises :class:`Unsupported` for an image without a kernel of its own.
    """
    boot = image.boot_for(image.firmwares[0], accelerator)
    if boot is None or boot.initrd is None:
        raise no_publishing(image.name)
    entries = [cpio.file(name, (_FILES / name).read_bytes(), executable=True) for name in ("init", "generalise")]
    with target.open("wb") as out:
        with boot.initrd.open("rb") as initrd:
            shutil.copyfileobj(initrd, out)
        out.write(b"\0" * (-out.tell() % 512))
        cpio.write(out, entries)
    target.chmod(0o644)
    return f"{boot.command_line} {TASK}"


def check_console(name: str, console: str) -> None:
    """Raise :class:`GuestFailure` unless the console says that all was done."""
    lines = [line.strip() for line in console.splitlines() if line.strip()]
    said = [line for line in lines if line.startswith(_MARK)]
    if said and said[-1] == DONE:
        return
    why = said[-1].removeprefix(_MARK) if said else "its machine ended early: " + " / ".join(lines[-_TAIL_LINES:])
    raise GuestFailure(
        f"The disk of {name} could not be made an image",
        why=f"In detail: {why}",
        todo="Start the instance once, so that its disk is repaired, then publish it again",
        code="generalise-failed",
    )
