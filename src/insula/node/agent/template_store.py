"""The folder of templates: `templates/KEY-N` below a node's folder, and drafts `.building-…` of those being made.

N counts up: a template that is damaged may have a disk that instances need, in the same place as long as they live.
Such a folder keeps the disk and nothing else, and the template that is made anew is the next one.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from insula.base.errors import DataCorrupt
from insula.base.files import write_atomic
from insula.base.log import get_logger
from insula.domain.instance import Resources
from insula.node.agent.background import to_its_end
from insula.node.agent.template_memory import TemplateMemories
from insula.node.storage.atomic import sync_file, sync_folder
from insula.node.storage.template import (
    DEVICES_FILE,
    DISK_FILE,
    FILES,
    MEMORY_FILE,
    NVRAM_FILE,
    TEMPLATE_FILE,
    Template,
    TemplateFacts,
    read_facts,
    read_template,
    used_at,
    write_template,
)

_DRAFT = ".building-"
_FAILURES = "failures.json"
_BLOCK_BYTES = 512  # of st_blocks, whatever the file system has

_log = get_logger(__name__)


@dataclass(frozen=True)
class StoredTemplate:
    """A template as it lies there. `is_needed` says that an instance's disk is based on its disk."""

    folder: Path
    facts: TemplateFacts
    used_at: datetime
    size_bytes: int
    is_needed: bool
    is_in_memory: bool


@dataclass(frozen=True)
class Failure:
    """A template that the node could not make by itself, and does not try again: for which instances, and why."""

    image: str
    resources: Resources
    problem: str


# Made while the module is imported: msgspec crashes when two threads look at a type for the first time at once.
_DECODER = msgspec.json.Decoder(dict[str, Failure])


class TemplateStore:
    """Finds, adds and removes templates. `disks_in_use` are the files that disks of instances are based on.

    A disk in use is never removed. A template that has to go while its disk is in use loses its other files, so that
    nothing goes on from it any more.
    """

    def __init__(
        self, folder: Path, disks_in_use: Callable[[], frozenset[Path]], memories: TemplateMemories, budget_bytes: int
    ) -> None:
        self.folder = folder
        self._disks_in_use = disks_in_use
        self.memories = memories
        self._budget_bytes = budget_bytes
        self._going: set[str] = set()

    async def find(self, key: str) -> Template | None:
        """The template with this key, if there is one that is whole; one that is damaged is removed."""
        for folder in self._generations(key):
            try:
                found = await asyncio.to_thread(read_template, folder)
            except DataCorrupt as error:
                _log.warning("a damaged template is removed", folder=folder.name, problem=str(error))
                await self._remove(folder)
                continue
            if folder.name not in self._going:  # what goes on from it now will be seen by whoever wants to remove it
                return found
        return None

    def draft(self, key: str) -> Path:
        """Where to make it. The name is short, since sockets are made in there."""
        self._make_folder()
        return self.folder / f"{_DRAFT}{key[:12]}"

    def drafts(self) -> list[Path]:
        """What is being made, or was when its maker was killed."""
        return sorted(self.folder.glob(f"{_DRAFT}*"))

    async def publish(self, draft: Path, facts: TemplateFacts) -> Template:
        """Make a draft a template, all at once and surviving a power loss. Everything but its own files goes."""
        number = 1 + max((_number(folder) for folder in self.folder.glob(f"{facts.key}-*")), default=0)
        target = self.folder / f"{facts.key}-{number}"
        await to_its_end(_publish, draft, target, facts)
        await self._remove_beyond_budget()
        return Template(target, facts)

    async def usable(self) -> Sequence[StoredTemplate]:
        """All that new instances may go on from, the latest used last."""
        return await asyncio.to_thread(self._list, self._disks_in_use(), frozenset(self.memories.names))

    async def failures(self) -> dict[str, Failure]:
        """By key. A list that cannot be read is taken for empty: each is then tried once more."""
        try:
            data = await asyncio.to_thread((self.folder / _FAILURES).read_bytes)
            return _DECODER.decode(data)
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
        return frozenset(Path(each.facts.image_disk) for each in await self.usable())

    async def image_names(self) -> frozenset[str]:
        """The images that templates are based on."""
        return frozenset(each.facts.image for each in await self.usable())

    async def remove_superseded(self, current: Mapping[str, Path]) -> None:
        """Remove what no instance needs and no new one would go on from: damaged ones, mere disks, those whose image
        is not `current` any more (name → disk), and what is beyond the budget."""
        for folder in await asyncio.to_thread(self._folders):
            try:
                facts = await asyncio.to_thread(read_facts, folder)
            except DataCorrupt:
                await self._remove(folder)
                continue
            if current.get(facts.image) != Path(facts.image_disk):
                await self._remove(folder)
        await self._remove_beyond_budget()

    async def remove_of(self, image: str) -> None:
        """Remove all templates of an image, except those whose disk is in use."""
        for each in await self.usable():
            if each.facts.image == image:
                await self._remove(each.folder)

    async def _remove_beyond_budget(self) -> None:
        """Remove the least recently used ones until the rest fits; the latest used one stays in any case.

        First those whose disk no instance needs; of the others the disk stays, which does not count any more.
        """
        found = await self.usable()
        total_bytes = sum([each.size_bytes for each in found])
        for each in sorted(found[:-1], key=lambda each: each.is_needed):
            if total_bytes <= self._budget_bytes:
                return
            _log.info("a template is removed for want of room", image=each.facts.image, folder=each.folder.name)
            await self._remove(each.folder)
            total_bytes -= each.size_bytes

    async def _remove(self, folder: Path) -> None:
        self._going.add(folder.name)
        try:
            self.memories.drop(folder.name)
            is_in_use = folder / DISK_FILE in self._disks_in_use()
            await to_its_end(_retire if is_in_use else _remove_whole, folder)
        finally:
            self._going.discard(folder.name)

    def _make_folder(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o711)  # machines' users pass through it to a disk, but cannot list it

    def _folders(self) -> list[Path]:
        return [folder for folder in sorted(self.folder.glob("[!.]*")) if folder.is_dir()]

    def _generations(self, key: str) -> list[Path]:
        """The folders of templates with this key, the newest first; not those that are only a disk any more."""
        found = [folder for folder in self.folder.glob(f"{key}-*") if (folder / TEMPLATE_FILE).exists()] if key else []
        return sorted(found, key=_number, reverse=True)

    def _list(self, disks_in_use: frozenset[Path], in_memory: frozenset[str]) -> Sequence[StoredTemplate]:
        found = []
        for folder in self._folders():
            if not (folder / TEMPLATE_FILE).exists():
                continue
            try:
                facts = read_facts(folder)
                size_bytes = sum((folder / name).stat().st_blocks * _BLOCK_BYTES for name in facts.files)
                is_needed, is_in_memory = folder / DISK_FILE in disks_in_use, folder.name in in_memory
                found.append(StoredTemplate(folder, facts, used_at(folder), size_bytes, is_needed, is_in_memory))
            except (DataCorrupt, FileNotFoundError) as error:  # the next that wants it removes it
                _log.warning("a template cannot be read", folder=folder.name, problem=str(error))
        return sorted(found, key=lambda each: each.used_at)


def _publish(draft: Path, target: Path, facts: TemplateFacts) -> None:
    for entry in draft.iterdir():
        if entry.name in FILES:
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


def _number(folder: Path) -> int:
    """Which of the templates with its key it is."""
    number = folder.name.rpartition("-")[2]
    return int(number) if number.isascii() and number.isdigit() else 0


def _retire(folder: Path) -> None:
    for name in (TEMPLATE_FILE, DEVICES_FILE, MEMORY_FILE, NVRAM_FILE):  # in this order: half of it is no template
        (folder / name).unlink(missing_ok=True)


def _remove_whole(folder: Path) -> None:
    # Renamed first: nobody can find a template that is half gone, and the next start removes the rest.
    doomed = folder.with_name(f"{_DRAFT}removed-{folder.name[:12]}")
    shutil.rmtree(doomed, ignore_errors=True)
    folder.rename(doomed)
    shutil.rmtree(doomed)
