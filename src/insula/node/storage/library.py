"""The images of a node: made, downloaded or imported, each in a folder of its own that appears all at once.

::

    images/
      debian-12/                     one folder per image name
        20260131T081500-1f3a…/       one per making; disks of instances point into it, so it never changes
          manifest.json disk.qcow2 kernel initrd
      img_01hq…/                     a published image, by its id
      .debian-12.building-4711/      being made; removed at start-up when its maker is dead
      .locks/debian-12               held while it is made, imported or deleted
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from insula.base.clock import now_utc
from insula.base.errors import Conflict, DataCorrupt, InsulaError, NotFound
from insula.domain.ids import Kind, is_id
from insula.domain.image import Image, ImageState
from insula.domain.instance import Platform
from insula.domain.names import check_name
from insula.node.storage.atomic import disk_full_explained
from insula.node.storage.backend import BootableImage, Publication
from insula.node.storage.headers import FileFormat, read_qcow2
from insula.node.storage.importing import Imported
from insula.node.storage.making import Made, Maker
from insula.node.storage.manifest import (
    DISK_FILE,
    LAYOUT,
    Manifest,
    file_facts,
    occupied_bytes,
    read_manifest,
    write_manifest,
)
from insula.node.storage.published import Published
from insula.node.storage.staging import (
    building_folder,
    building_folders,
    is_locked,
    name_lock,
    name_of_building,
    publish,
    remove_tree,
)
from insula.protocol.node import Progress

# The longest making of an image; somebody who waits for it waits as long.
_LONGEST_BUILD_S = 3600.0


class ImageLibrary:
    """All images of a node. Several processes may use one folder."""

    def __init__(self, folder: Path, makers: Sequence[Maker]) -> None:
        self._folder = folder
        self._makers = {maker.facts.name: maker for maker in makers}
        self._problems: dict[str, str] = {}

    async def clean(self) -> Sequence[Path]:
        """Remove what killed makers left; returns what was removed. For the service's start; may be repeated."""
        removed: list[Path] = []
        for folder in building_folders(self._folder):
            if not is_locked(self._folder, name_of_building(folder)):
                await remove_tree(folder)
                removed.append(folder)
        return removed

    async def list(self) -> Sequence[Image]:
        """Every image that is here or could be made, by name."""
        return await asyncio.to_thread(self._list)

    def _list(self) -> Sequence[Image]:
        made = {path.name for path in self._folder.glob("[!.]*") if path.is_dir()}
        images = [self._describe(name) for name in sorted(made | set(self._makers))]
        return [image for image in images if image is not None]

    def _describe(self, name: str) -> Image | None:
        maker = self._makers.get(name)
        try:
            found = self._newest(name)
        except DataCorrupt as error:
            # Of a damaged import nothing is known any more but its name.
            facts = maker.facts if maker else Imported(name, Path(name), FileFormat.QCOW2).facts
            return facts.image(ImageState.FAILED, str(error))
        if found is not None:
            folder, manifest = found
            return manifest.image(occupied_bytes(folder))
        if maker is None:
            return None
        if is_locked(self._folder, name):
            return maker.facts.image(ImageState.BUILDING)
        problem = self._problems.get(name, "")
        return maker.facts.image(ImageState.FAILED if problem else ImageState.ABSENT, problem)

    def _newest(self, name: str) -> tuple[Path, Manifest] | None:
        """The newest version of an image; None when there is none. Raises :class:`DataCorrupt` when all are damaged."""
        damaged: DataCorrupt | None = None
        for folder in sorted((self._folder / name).glob("[!.]*"), reverse=True):
            try:
                return folder, read_manifest(folder)
            except DataCorrupt as error:
                damaged = error
        if damaged is not None:
            raise damaged
        return None

    async def prepare(self, name: str, progress: Progress) -> Image:
        """Make the image unless it is here and up to date.

        May be repeated; two at once share one making, also across processes. Raises :class:`NotFound` for a name that
        neither the catalogue nor an import knows, and what its maker raises; then nothing is left behind.
        """
        maker = self._makers.get(name)
        if maker is None:
            return (await self.bootable(name)).image
        async with name_lock(self._folder, name, _LONGEST_BUILD_S, lambda: progress(f"Waiting for {name}", -1)):
            found = await asyncio.to_thread(self._newest_or_none, name)
            if found is not None and found[1].digest == maker.digest:
                self._problems.pop(name, None)
                return found[1].image(occupied_bytes(found[0]))
            return await self._make(maker, progress)

    async def import_file(
        self, name: str, path: Path, image_format: str, progress: Progress, *, platform: Platform = Platform.NOCLOUD
    ) -> Image:
        """Make an image of a local qcow2 or raw file, which is left as it is.

        Raises :class:`Conflict` when the name is taken, and what :class:`Imported` raises.
        """
        check_name(name)
        importer = Imported(name, path, image_format, platform)
        async with name_lock(self._folder, name, _LONGEST_BUILD_S, lambda: progress(f"Waiting for {name}", -1)):
            if name in self._makers or await asyncio.to_thread(self._newest_or_none, name) is not None:
                raise Conflict(
                    f"There is already an image {name}",
                    why="An image never changes, since disks of instances are based on it",
                    todo="Import it under another name, or delete the old image first",
                    code="name-taken",
                    fields={"name": "taken"},
                )
            return await self._make(importer, progress)

    async def publish(self, wanted: Publication, fill: Callable[[Path], Awaitable[None]], progress: Progress) -> Image:
        """Make an image of an instance's disk, which `fill` writes to the path that it is given.

        May be repeated: one that is there is left as it is. Raises what `fill` raises; nothing is left behind then.
        """
        name = _checked(wanted.name)
        async with name_lock(self._folder, name, _LONGEST_BUILD_S, lambda: progress(f"Waiting for {name}", -1)):
            found = await asyncio.to_thread(self._newest_or_none, name)
            if found is not None:
                return found[1].image(occupied_bytes(found[0]))
            return await self._make(Published(wanted, fill), progress)

    def _newest_or_none(self, name: str) -> tuple[Path, Manifest] | None:
        try:
            return self._newest(name)
        except DataCorrupt:
            return None

    async def _make(self, maker: Maker, progress: Progress) -> Image:
        name = maker.facts.name
        try:
            with disk_full_explained(f"Making the image {name}"):
                async with building_folder(self._folder, name) as building:
                    made = await maker.make(building, progress)
                    manifest = await asyncio.to_thread(_describe_files, building, maker, made)
                    target = self._folder / name / f"{manifest.made_at:%Y%m%dT%H%M%S}-{manifest.digest[:12]}"
                    await asyncio.to_thread(publish, building, target)
        except InsulaError as error:
            self._problems[name] = str(error)
            raise
        self._problems.pop(name, None)
        progress(f"Image {name} is ready", 100)
        return manifest.image(occupied_bytes(target))

    async def delete(self, name: str) -> None:
        """Remove all versions of an image. The caller makes sure that no instance's disk is based on it.

        May be repeated. Raises :class:`NotFound` when nobody ever heard of the name; an id may be gone already.
        """
        folder = self._folder / _checked(name)
        if not folder.exists() and name not in self._makers and not is_id(name, Kind.IMAGE):
            raise self._unknown(name)
        async with name_lock(self._folder, name, _LONGEST_BUILD_S, lambda: None):
            if folder.exists():
                # Renamed first: nobody can find an image that is half gone.
                doomed = self._folder / f".{name}.building-deleted"
                await remove_tree(doomed)
                folder.rename(doomed)
                await remove_tree(doomed)
        self._problems.pop(name, None)

    async def remove_superseded(self, in_use: frozenset[Path]) -> Sequence[Path]:
        """Remove versions that a newer one replaced, except those whose disk is in `in_use`; returns their folders."""
        removed: list[Path] = []
        for name in [path.name for path in self._folder.glob("[!.]*")]:
            async with name_lock(self._folder, name, _LONGEST_BUILD_S, lambda: None):
                newest = await asyncio.to_thread(self._newest_or_none, name)
                for folder in (self._folder / name).glob("[!.]*"):
                    if newest is not None and folder != newest[0] and folder / DISK_FILE not in in_use:
                        await remove_tree(folder)
                        removed.append(folder)
        return removed

    async def bootable(self, name: str) -> BootableImage:
        """The image's files.

        Raises :class:`NotFound`, :class:`Conflict` while it is not ready, :class:`DataCorrupt`.
        """
        found = await asyncio.to_thread(self._newest, _checked(name))
        if found is not None:
            return found[1].bootable(found[0])
        if name not in self._makers:
            raise self._unknown(name)
        raise Conflict(
            f"The image {name} is not on this node yet",
            why=self._problems.get(name) or "It was not prepared",
            todo=f"Prepare it: insula image prepare {name}",
            code="image-not-ready",
        )

    def _unknown(self, name: str) -> NotFound:
        here = (path.name for path in self._folder.glob("[!.]*"))
        known = sorted({*self._makers, *(each for each in here if not is_id(each, Kind.IMAGE))})
        return NotFound(
            f"There is no image {name[:80]!r}",
            why=f"This node knows {', '.join(known) or 'none'}",
            todo="Choose one of them, or import a file with `insula image import`",
            code="unknown-image",
        )


def _checked(name: str) -> str:
    """The name of an image, or the id of a published one. Raises :class:`InvalidInput`: it is part of a path."""
    return name if is_id(name, Kind.IMAGE) else check_name(name)


def _describe_files(building: Path, maker: Maker, made: Made) -> Manifest:
    """Hash the files and write the manifest; takes seconds."""
    files = {path.name: file_facts(path) for path in sorted(building.iterdir())}
    manifest = Manifest(
        layout=LAYOUT,
        facts=maker.facts,
        version=made.version,
        made_at=now_utc(),
        digest=maker.digest,
        virtual_bytes=read_qcow2(building / DISK_FILE).virtual_bytes,
        files=files,
        kernel=made.kernel,
        command_line=made.command_line,
        packages=dict(made.packages),
    )
    write_manifest(building, manifest)
    return manifest
