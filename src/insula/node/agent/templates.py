"""The templates of a node: made, gone on from, told about and removed; what the node itself has to do with them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from insula.base.errors import InsulaError, NotFound, Unsupported
from insula.domain.capacity import Share
from insula.domain.image import ImageTemplate
from insula.domain.instance import Resources
from insula.node.agent.background import Background
from insula.node.agent.changes import Changes
from insula.node.agent.first_start import FirstStarts
from insula.node.agent.host import available_memory_mib
from insula.node.agent.launch import Launcher
from insula.node.agent.template_key import TemplateKeys
from insula.node.agent.template_maker import TemplateMaker, Workshop, has_no_template
from insula.node.agent.template_memory import TemplateMemories
from insula.node.agent.template_rules import Making, TemplateRules
from insula.node.agent.template_store import StoredTemplate, TemplateStore
from insula.node.agent.warming import Instances, Warming
from insula.node.hypervisor.driver import Driver
from insula.node.network.wiring import InstanceNetwork
from insula.node.runtime.cgroups import Cgroups
from insula.node.runtime.uids import UidRange
from insula.node.storage.backend import BootableImage, DiskBackend, ImageSource
from insula.node.storage.template import Template
from insula.protocol.node import Check, InstanceSpec

_GIB = 1 << 30


@dataclass(frozen=True)
class Means:
    """What the node makes templates with, and from. `folder` is the folder of templates."""

    folder: Path
    launcher: Launcher
    driver: Driver
    network: InstanceNetwork
    images: ImageSource
    disks: DiskBackend
    uids: UidRange | None = None
    cgroups: Cgroups | None = None


class Templates:
    """All of one node."""

    def __init__(self, means: Means, instances: Instances, rules: TemplateRules) -> None:
        self._images = means.images
        self._rules = rules
        self._instances = instances
        self._memories = TemplateMemories(rules.memory_mib)
        budget_bytes = int(rules.disk_gib * _GIB)
        self._store = TemplateStore(means.folder, instances.disks_in_use, self._memories, budget_bytes)
        self._keys = TemplateKeys(means.driver, means.network)
        workshop = Workshop(means.launcher, self._store, means.disks, means.uids, means.cgroups, rules.settle_s)
        self._maker = TemplateMaker(workshop)
        self._warming = Warming(self._maker, self._keys, means.images, instances, rules)
        self.first_starts = FirstStarts(means.launcher, self._keys, self._store)

    async def clean(self) -> None:
        """End and remove what a killed service was making. For the service's start."""
        await self._maker.clean()

    def warm(self, background: Background, changes: Changes) -> None:
        """Make templates by itself from now on, if the rules say so."""
        if self._rules.making is Making.AUTO:
            background.spawn(self._warming.run(changes), "warming")

    def close(self) -> None:
        self._memories.close()

    @property
    def machines(self) -> frozenset[str]:
        """The names of machines that are being booted for templates."""
        return self._maker.machines

    @property
    def is_calm(self) -> bool:
        """Whether the host has nothing better to do than what nobody asked for, and no template is wanted."""
        return self._warming.is_calm and not self._warming.is_wanting

    async def key_of(self, spec: InstanceSpec) -> str:
        """The key of the template for instances like this one, made or not; empty when they can have none."""
        return await self._keys.of(spec, await self._images.bootable(spec.image))

    async def require(self, spec: InstanceSpec, key: str) -> tuple[BootableImage, Template]:
        """Image and template for instances like this one. Raises NotFound when the template is not there."""
        image = await self._images.bootable(spec.image)
        template = await self.find(spec, image)
        if template is None or template.key != key:
            raise NotFound(f"There is no template of {spec.image} for this", code="template-gone")
        return image, template

    async def find(self, spec: InstanceSpec, image: BootableImage) -> Template | None:
        """What a new instance may go on from."""
        if self._rules.making is Making.NEVER:
            return None
        return await self._store.find(await self._keys.of(spec, image))

    def missed(self, spec: InstanceSpec) -> None:
        """A new instance found none, and is going to boot."""
        if self._rules.making is Making.AUTO:
            self._warming.expect(spec)

    async def make(self, spec: InstanceSpec) -> Template:
        """Make what new instances like this one go on from, because somebody asks for it.

        May be repeated. Raises Unsupported for what can have no template, else as TemplateMaker.make.
        """
        if self._rules.making is Making.NEVER:
            raise Unsupported(
                "This service makes no templates",
                why="Its setting INSULA_TEMPLATES is never",
                todo="Nothing needs to be done: instances boot. Start it with INSULA_TEMPLATES=asked to have templates",
                code="templates-off",
            )
        image = await self._images.bootable(spec.image)
        key = await self._keys.of(spec, image)
        if not key:
            raise has_no_template(spec.image)
        made = await self._maker.make(key, spec, image)
        await self._store.note_failure(key, None)
        return made

    async def of_images(self) -> Mapping[str, Sequence[ImageTemplate]]:
        """Those that new instances may go on from, by the name of their image, the latest used first."""
        found: dict[str, list[ImageTemplate]] = {}
        for each in reversed(await self._store.usable()):
            found.setdefault(each.facts.image, []).append(_described(each))
        return found

    async def check(self) -> Check:
        """The doctor's line: what they take of which budget, and what could not be made."""
        found = await self._store.usable()
        disk_gib = sum(each.size_bytes for each in found) / _GIB
        rules = self._rules
        detail = (
            f"There are {len(found)}, which take {disk_gib:.1f} of {rules.disk_gib:g} GiB on disk and "
            f"{self._memories.size_mib} of {rules.memory_mib} MiB in memory; they are made: {rules.making}"
        )
        failures = await self._store.failures()
        if not failures or rules.making is Making.NEVER:
            return Check("templates", "ok", detail)
        failed = "; ".join(
            f"{each.image} with {each.resources.vcpus} vCPU and {each.resources.memory_mib} MiB: {each.problem}"
            for each in failures.values()
        )
        todo = "Nothing needs to be done: such instances boot. `insula image warm NAME --plan PLAN` tries again"
        return Check("templates", "note", f"{detail}. Not made: {failed}", todo)

    @contextlib.contextmanager
    def held_off(self) -> Iterator[None]:
        """Make none by itself meanwhile."""
        with self._warming.held_off():
            yield

    async def make_room(self, wanted: Resources) -> None:
        """An instance is about to start or to be forked: give back what nobody asked for and it may need."""
        await self._warming.give_way()
        while self._memories.names and available_memory_mib() < wanted.memory_mib:
            self._memories.drop(self._memories.names[0])

    def shares(self) -> tuple[Share, Share]:
        """What templates take of the host: for good until they are made, and until an instance needs it."""
        machine = self._maker.machine
        taken = Share(machine.memory_mib, machine.cpu_percent) if machine is not None else Share()
        kept = Share(self._memories.size_mib)
        return (Share(), taken + kept) if self._warming.is_making else (taken, kept)

    async def remove_of(self, image: str) -> None:
        """Remove all templates of an image, except those whose disk is in use."""
        await self._store.remove_of(image)

    async def remove_superseded(self) -> frozenset[Path]:
        """Remove what no instance needs and no new one would go on from; returns the images' disks that are needed."""
        current = {}
        for name in await self._store.image_names():
            with contextlib.suppress(InsulaError):
                current[name] = (await self._images.bootable(name)).disk
        await self._store.remove_superseded(current)
        return await self._store.image_disks()


def _described(stored: StoredTemplate) -> ImageTemplate:
    facts = stored.facts
    return ImageTemplate(
        vcpus=facts.vcpus,
        memory_mib=facts.memory_mib,
        disk_gib=facts.disk_gib,
        made_at=facts.made_at,
        used_at=stored.used_at,
        size_bytes=stored.size_bytes,
        in_memory=stored.is_in_memory,
    )
