"""The files that an instance's machine is started with for the first time: its seed, its disk, UEFI's variables."""

from __future__ import annotations

import asyncio
from pathlib import Path

from insula.node.agent import disk_files
from insula.node.agent.platforms import needs_seed
from insula.node.agent.records import InstanceRecord
from insula.node.storage.backend import DiskBackend, SeedContents
from insula.node.storage.template import Template


async def write(record: InstanceRecord, backend: DiskBackend, folder: Path, template: Template | None) -> None:
    """Make them from the record's image, whose disk may be `template`'s. Raises what `backend` raises."""
    spec, image = record.spec, record.image
    assert image is not None  # noqa: S101 - it is noted before, since a disk without a record would belong to nobody
    if needs_seed(spec, image):
        await backend.make_seed(folder / disk_files.SEED, seed_contents(record), record.uid)
    if template is not None and template.nvram is not None:
        await asyncio.to_thread(disk_files.copy, template.nvram, folder / disk_files.NVRAM)
    await backend.clone(image, folder / disk_files.DISK, spec.resources.disk_gib, record.uid)


def seed_contents(record: InstanceRecord) -> SeedContents:
    """What its guest is told."""
    spec = record.spec
    return SeedContents(spec.id, spec.hostname, spec.ssh_keys, spec.user_data, identity=record.identity)
