"""Makes an image of a vendor's cloud image: fetched, verified before anything opens it, converted in a jail."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec

from insula.base.errors import CommandFailed, DataCorrupt
from insula.base.run import run
from insula.domain.image import ImageSource, Provisioning
from insula.domain.instance import Firmware, MachineType
from insula.node.storage.fetch import fetch
from insula.node.storage.headers import FileFormat
from insula.node.storage.importing import convert
from insula.node.storage.making import Made
from insula.node.storage.manifest import DISK_FILE, ImageFacts, hash_file
from insula.protocol.node import Progress

_MAX_IMAGE_BYTES = 32 << 30
_MAX_CHECKSUMS_BYTES = 8 << 20
_LINE = re.compile(r"([0-9a-fA-F]{64}|[0-9a-fA-F]{128}) [ *](.+)")
_ALGORITHMS = {64: "sha256", 128: "sha512"}


@dataclass(frozen=True)
class CloudImage:
    """An entry of the catalogue; see `catalogue.yaml`."""

    name: str
    title: str
    url: str
    format: FileFormat
    checksums: str
    min_memory_mib: int
    min_disk_gib: int
    checksum_signature: str = ""
    checksum_keyring: str = ""
    checksum_keyring_package: str = ""


def find_checksum(text: str, file_name: str) -> str:
    """The hash of `file_name` in a checksum file of `sha256sum` or `sha512sum`. Raises :class:`DataCorrupt`."""
    for line in text.splitlines():
        found = _LINE.fullmatch(line.strip())
        if found and found[2].removeprefix("./") == file_name:
            return found[1].lower()
    raise DataCorrupt(
        f"The vendor's checksum file does not list {file_name}",
        why="Without its checksum the image cannot be verified",
        todo="The vendor may have moved it; update Insula, or import the file yourself",
        code="no-checksum",
    )


class Downloaded:
    """A vendor's image from the catalogue."""

    def __init__(self, image: CloudImage) -> None:
        self._image = image
        self.facts = ImageFacts(
            name=image.name,
            title=image.title,
            source=ImageSource.DOWNLOADED,
            provisioning=Provisioning.CLOUD_INIT,
            has_agent=False,
            firmwares=(Firmware.BIOS, Firmware.UEFI),
            machine_types=(MachineType.Q35,),
            min_memory_mib=image.min_memory_mib,
            min_disk_gib=image.min_disk_gib,
            trust=_trust(image),
            renew=("machine-id", "host-keys", "hostname", "keys", "random-seed"),
        )

    @property
    def digest(self) -> str:
        return hashlib.sha256(msgspec.json.encode(self._image)).hexdigest()

    async def make(self, folder: Path, progress: Progress) -> Made:
        expected = await self._expected_hash(folder, progress)
        source = folder / "source"
        name = self._image.url.rpartition("/")[2]

        def on_progress(have: int, total: int) -> None:
            progress(f"Downloading {name}", 2 + 78 * have // total if total else -1)

        fetched = await fetch(self._image.url, source, max_bytes=_MAX_IMAGE_BYTES, on_progress=on_progress)
        progress("Verifying", 82)
        await verify_hash(source, expected, self._image.url)
        progress("Converting", 85)
        await convert(source, self._image.format, folder / DISK_FILE)
        source.unlink()
        return Made(version=fetched.modified or expected[:12])

    async def _expected_hash(self, folder: Path, progress: Progress) -> str:
        progress("Fetching checksums", 0)
        checksums = folder / "checksums"
        signature = folder / "signature"
        await fetch(self._image.checksums, checksums, max_bytes=_MAX_CHECKSUMS_BYTES, on_progress=lambda *_: None)
        if _keyring_installed(self._image):
            await fetch(
                self._image.checksum_signature, signature, max_bytes=_MAX_CHECKSUMS_BYTES, on_progress=lambda *_: None
            )
            await verify_signature(checksums, signature, Path(self._image.checksum_keyring))
            signature.unlink()
        text = checksums.read_text(errors="replace")
        checksums.unlink()
        return find_checksum(text, self._image.url.rpartition("/")[2])


async def verify_hash(path: Path, expected: str, source: str) -> None:
    """Compare a file with its SHA-256 or SHA-512 (told by the length). Raises :class:`DataCorrupt`."""
    found = await hash_file(path, _ALGORITHMS[len(expected)])
    if found != expected:
        raise DataCorrupt(
            f"{source} is not the file that its vendor published",
            why=f"Its {_ALGORITHMS[len(expected)]} is {found}, the vendor's checksum file says {expected}",
            todo="Try again later: the vendor may be replacing it; if it stays so, somebody changed it on the way",
            code="wrong-checksum",
        )


async def verify_signature(file: Path, signature: Path, keyring: Path) -> None:
    """Check a detached signature by any key of `keyring`. Raises :class:`DataCorrupt`."""
    try:
        await run(["gpgv", "--quiet", "--keyring", str(keyring), str(signature), str(file)], timeout_s=60)
    except CommandFailed as error:
        raise DataCorrupt(
            "The vendor's checksum file is not signed by the vendor",
            why=error.why,
            todo="Somebody changed it on the way, or the vendor has a new key: update the package with its keyring",
            code="wrong-signature",
        ) from error


def _keyring_installed(image: CloudImage) -> bool:
    return bool(image.checksum_keyring) and Path(image.checksum_keyring).is_file()


def _trust(image: CloudImage) -> str:
    if _keyring_installed(image):
        return f"Its checksum file is signed by a key of the host's package {image.checksum_keyring_package}."
    weaker = "Weaker: its checksum file came over HTTPS from the vendor's host"
    if image.checksum_keyring:
        return f"{weaker}; the package {image.checksum_keyring_package} with the vendor's key is not installed here."
    return f"{weaker}; the vendor does not sign it with a key that a package brings."
