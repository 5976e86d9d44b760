"""Makes an image of a disk image file that somebody gave us and that we do not trust."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from insula.base.clock import now_utc
from insula.base.errors import CommandFailed, DataCorrupt
from insula.base.run import run
from insula.domain.image import ImageSource, Provisioning
from insula.domain.instance import Firmware, MachineType, Platform
from insula.node.runtime.jail import Jail
from insula.node.storage.confined import lent_to_stranger, run_confined
from insula.node.storage.headers import FileFormat, check_importable, parse_format, read_qcow2
from insula.node.storage.making import Made
from insula.node.storage.manifest import DISK_FILE, ImageFacts
from insula.protocol.node import Progress

_TIMEOUT_S = 3600.0
_GIB = 1 << 30


class Imported:
    """A local qcow2 or raw file as an image. Raises :class:`InvalidInput` for any other format."""

    def __init__(self, name: str, path: Path, image_format: str, platform: Platform = Platform.NOCLOUD) -> None:
        self._path = path
        self._format = parse_format(image_format)
        self.facts = ImageFacts(
            name=name,
            title=f"Imported from {path.name}",
            source=ImageSource.IMPORTED,
            # Nearly every cloud image reads a NoCloud seed; one that does not is imported with its platform.
            provisioning=Provisioning.CLOUD_INIT,
            has_agent=False,
            firmwares=(Firmware.BIOS, Firmware.UEFI),
            machine_types=(MachineType.Q35,),
            min_memory_mib=128,
            min_disk_gib=1,
            trust="None: whoever imported it vouches for it. Its file was opened in a jail, with its declared format.",
            renew=("machine-id", "host-keys", "hostname", "keys", "random-seed"),
            platform=platform,
        )

    @property
    def digest(self) -> str:
        """Imports are never made again, so it only tells two of them apart."""
        return hashlib.sha256(f"{self._path}\0{self._format}\0{self.facts.name}".encode()).hexdigest()

    async def make(self, folder: Path, progress: Progress) -> Made:
        """Copy, check and convert the file.

        The check that counts is made on our own copy, which nobody can change between check and use.
        """
        check_importable(self._path, self._format)
        progress(f"Copying {self._path.name}", 0)
        source = folder / "source"
        await run(
            ["cp", "--reflink=auto", "--sparse=always", "--", str(self._path.absolute()), str(source)],
            timeout_s=_TIMEOUT_S,
        )
        progress(f"Converting {self._path.name}", 40)
        await convert(source, self._format, folder / DISK_FILE)
        source.unlink()
        progress("Checking the result", 95)
        return Made(version=f"{now_utc():%Y-%m-%d}")


async def convert(source: Path, image_format: FileFormat, target: Path) -> None:
    """Turn an untrusted disk image into a qcow2 file of ours, in a jail.

    Raises what :func:`check_importable` raises, :class:`DataCorrupt` when the tool finds the file damaged.
    """
    virtual_bytes = check_importable(source, image_format)
    source.chmod(0o444)
    target.touch(mode=0o644)
    # The tables need well below one per mille of the disk, plus a few clusters.
    limit = virtual_bytes + virtual_bytes // 512 + _GIB
    command = ["qemu-img", "convert", "-f", image_format, "-O", "qcow2", "-W", "-m", "4", str(source), str(target)]
    try:
        async with lent_to_stranger(target) as uid:
            if image_format is FileFormat.QCOW2:
                await _check_whole(source, uid)
            jail = Jail(read_only=(source,), read_write=(target,), uid=uid, dies_with_us=True)
            await run_confined(command, jail, timeout_s=_TIMEOUT_S, max_file_bytes=limit)
    except CommandFailed as error:
        raise _damaged(error.why) from error


async def _check_whole(source: Path, uid: int | None) -> None:
    """Raise :class:`DataCorrupt` unless all of a qcow2 file's tables are sound and all it refers to is there.

    Reading a file that was cut off gives zeros instead of an error, so converting it would hide the loss.
    """
    jail = Jail(read_only=(source,), uid=uid, dies_with_us=True)
    command = ["qemu-img", "check", "-f", "qcow2", "--output=json", str(source)]
    done = await run_confined(command, jail, timeout_s=_TIMEOUT_S, check=False)
    try:
        found = _DECODER.decode(done.stdout)
    except msgspec.MsgspecError as error:
        raise _damaged(done.stderr.decode("utf-8", "replace").strip() or "the tool that checks it gave up") from error
    if found.corruptions or found.check_errors:
        raise _damaged(f"{found.corruptions} of its clusters are corrupt, {found.check_errors} cannot be checked")
    # Only the last cluster of compressed data may end early.
    missing = found.image_end_offset - source.stat().st_size
    if missing >= read_qcow2(source).cluster_bytes:
        raise _damaged(f"its last {missing} bytes are missing: it is cut off")


class _Check(msgspec.Struct, rename="kebab"):
    """What `qemu-img check --output=json` tells."""

    image_end_offset: int = 0
    corruptions: int = 0
    check_errors: int = 0


# Made while the module is imported: msgspec crashes when two threads look at a type for the first time at once.
_DECODER = msgspec.json.Decoder(_Check)


def _damaged(why: str) -> DataCorrupt:
    return DataCorrupt(
        "The disk image is damaged",
        why=f"In detail: {why}",
        todo="Download or copy it again, and compare its checksum with that of its source",
        code="damaged-image-file",
    )
