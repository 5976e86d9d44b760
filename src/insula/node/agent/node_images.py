"""The part of a node that has to do with images: made, imported, published, deleted, and frozen as templates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from insula.base.errors import Conflict
from insula.domain.image import Image
from insula.domain.instance import Platform
from insula.node.agent.node_disks import NodeDisks
from insula.node.agent.pool import Pool
from insula.node.agent.population import Population
from insula.node.agent.publishing import Publisher
from insula.node.storage.template import Template
from insula.protocol.node import InstanceSpec, Progress


class NodeImages(NodeDisks):
    """A part of NodeApi; the node itself brings what is declared here."""

    _population: Population
    _pool: Pool
    _publisher: Publisher

    async def images(self) -> Sequence[Image]:
        templates = await self._templates.of_images()
        found = await self._parts.images.list()
        return [replace(each, templates=tuple(templates.get(each.name, ()))) for each in found]

    async def prepare_image(self, name: str, progress: Progress) -> Image:
        with self._templates.held_off():
            return await self._parts.images.prepare(name, progress)

    async def import_image(
        self, name: str, path: str, image_format: str, progress: Progress, *, platform: Platform = Platform.NOCLOUD
    ) -> Image:
        with self._templates.held_off():
            return await self._parts.images.import_file(name, Path(path), image_format, progress, platform=platform)

    async def publish_image(self, image_id: str, title: str, snapshot_id: str, progress: Progress) -> Image:
        with self._templates.held_off():
            return await self._publisher.publish(image_id, title, snapshot_id, progress)

    async def delete_image(self, name: str) -> None:
        if users := self._population.users_of_image(name):
            raise Conflict(
                f"Image {name} is in use",
                why=f"The disks of {', '.join(users[:10])}{' and others' if len(users) > 10 else ''} are based on it",
                todo="Delete or rebuild these instances first",
                code="image-in-use",
            )
        await self._pool.end_of(name)
        await self._templates.remove_of(name)
        await self._parts.images.delete(name)

    async def warm_image(self, spec: InstanceSpec) -> None:
        await self.make_template(spec)

    async def make_template(self, spec: InstanceSpec) -> Template:
        """See Templates.make."""
        return await self._templates.make(spec)
