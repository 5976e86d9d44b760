"""The folder of templates: `templates/KEY` below a node's folder, and drafts `.building-…` of those being made."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from insula.base.errors import Conflict, DataCorrupt
from insula.base.files import write_atomic
from insula.base.log import get_logger
from insula.domain.instance import Resources
from insula.node.agent.background import to_its_end
from insula.node.agent.template_memory import TemplateMemories
from insula.node.storage.atomic import sync_file, sync_folder
from insula.node.storage.template import (
    DEVICES_FILE,
    DISK_FILE,
    MEMORY_FILE,
    Template,
    TemplateFacts,
    read_facts,
    read_template,
    write_template,
)

_DRAFT = ".building-"
_FILES = frozenset({DISK_FILE, DEVICES_FILE, MEMORY_FILE})
_FAILURES = "failures.json"

_log = get_logger(__name__)


@dataclass(frozen=True)
class Failure:
    """A template that the node could not make by itself, and does not try again: for which instances, and why."""

    image: str
    resources: Resources
    problem: str


class TemplateStore:
    """Finds, adds and removes templates. `disks_in_use` are the files that disks of instances are based on.

    A disk in use is never removed. A damaged template whose disk is in use loses its other files, so that nothing goes
    on from it any more.
    """

    def __init__(self, folder: Path, disks_in_use: Callable[[], frozenset[Path]], memories: TemplateMemories) -> None:
        self.folder = folder
        self._disks_in_use = disks_in_use
        self.memories = memories

    async def find(self, key: str) -> Template | None:
        """The template with this key, if there is one that is whole; one that is damaged is removed."""
        folder = self.folder / key
        if not key or not folder.is_dir():
            return None
        try:
            return await asyncio.to_thread(read_template, folder)
        except DataCorrupt as error:
            _log.warning("a damaged template is removed", key=key, problem=str(error))
            await self._remove(folder)
            return None

    def draft(self, key: str) -> Path:
        """Where to make it. The name is short, since sockets are made in there.

        Raises :class:`Conflict` while a damaged one has a disk that instances need.
        """
        if (self.folder / key).exists():
            raise Conflict(
                f"The template {key[:12]} cannot be made anew",
                why="It is damaged, and disks of instances are based on its disk",
                todo="Delete or rebuild these instances; others boot from their disks meanwhile",
                code="template-in-use",
            )
        self._make_folder()
        return self.folder / f"{_DRAFT}{key[:12]}"

    def drafts(self) -> list[Path]:
        """What is being made, or was when its maker was killed."""
        return sorted(self.folder.glob(f"{_DRAFT}*"))

    async def publish(self, draft: Path, facts: TemplateFacts) -> Template:
        """Make a draft a template, all at once and surviving a power loss. Everything but its three files goes."""
        target = self.folder / facts.key
        await to_its_end(_publish, draft, target, facts)
        return Template(target, facts)

    async def failures(self) -> dict[str, Failure]:
        """By key. A list that cannot be read is taken for empty: each is then tried once more."""
        try:
            data = await asyncio.to_thread((self.folder / _FAILURES).read_bytes)
            return msgspec.json.decode(data, type=dict[str, Failure])
        except (FileNotFoundError, msgspec.MsgspecError):
            return {}

    async def note_failure(self, key: str, failure: Failure | None) -> None:
        """Remember it, or with None that it is mended."""
        found = await self.failures()
        changed = {name: each for name, each in found.items() if name != key} | ({key: failure} if failure else {})
        if changed != found:
            await asyncio.to_thread(self._make_folder)
            await asyncio.to_thread(write_atomic, self.folder / _FAILURES, msgspec.json.encode(changed))

    async def image_disks(self) -> frozenset[Path]:
        """The disks of images that templates are based on."""
        return frozenset(Path(facts.image_disk) for facts in await asyncio.to_thread(self._all_facts))

    async def image_names(self) -> frozenset[str]:
        """The images that templates are based on."""
        return frozenset(facts.image for facts in await asyncio.to_thread(self._all_facts))

    async def remove_superseded(self, current: Mapping[str, Path]) -> None:
        """Remove what no instance needs and no new one would go on from: damaged ones, and those whose image is not
        `current` any more (name → disk)."""
        for folder in await asyncio.to_thread(self._folders):
            try:
                facts = await asyncio.to_thread(read_facts, folder)
            except DataCorrupt:
                await self._remove(folder)
                continue
            if current.get(facts.image) != Path(facts.image_disk):
                await self._remove(folder)

    async def remove_of(self, image: str) -> None:
        """Remove all templates of an image, except those whose disk is in use."""
        for facts in await asyncio.to_thread(self._all_facts):
            if facts.image == image:
                await self._remove(self.folder / facts.key)

    async def _remove(self, folder: Path) -> None:
        self.memories.drop(folder.name)
        is_in_use = folder / DISK_FILE in self._disks_in_use()
        await asyncio.to_thread(_retire if is_in_use else _remove_whole, folder)

    def _make_folder(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o711)  # machines' users pass through it to a disk, but cannot list it

    def _folders(self) -> list[Path]:
        return [folder for folder in sorted(self.folder.glob("[!.]*")) if folder.is_dir()]

    def _all_facts(self) -> list[TemplateFacts]:
        found = []
        for folder in self._folders():
            try:
                facts = read_facts(folder)
            except DataCorrupt as error:
                _log.warning("a template cannot be read", folder=str(folder), problem=str(error))
                continue
            if facts.key == folder.name:
                found.append(facts)
        return found


def _publish(draft: Path, target: Path, facts: TemplateFacts) -> None:
    for entry in draft.iterdir():
        if entry.name in _FILES:
            os.chown(entry, os.geteuid(), os.getegid())
            # Other users' machines read the disk; nobody reads the rest, which is handed on as open descriptors.
            entry.chmod(0o644 if entry.name == DISK_FILE else 0o600)
            sync_file(entry)
        elif entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    write_template(draft, facts)
    os.chown(draft, os.geteuid(), os.getegid())
    draft.chmod(0o711)
    sync_folder(draft)
    draft.rename(target)
    sync_folder(target.parent)


def _retire(folder: Path) -> None:
    for name in (DEVICES_FILE, MEMORY_FILE):
        (folder / name).unlink(missing_ok=True)


def _remove_whole(folder: Path) -> None:
    # Renamed first: nobody can find a template that is half gone, and the next start removes the rest.
    doomed = folder.with_name(f"{_DRAFT}removed-{folder.name[:12]}")
    shutil.rmtree(doomed, ignore_errors=True)
    folder.rename(doomed)
    shutil.rmtree(doomed)
