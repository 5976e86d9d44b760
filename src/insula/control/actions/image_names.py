"""Which image a name means: published ones of the project, then shared ones, then those of the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from insula.base.errors import Conflict, Forbidden
from insula.control.actions.ports import Nodes
from insula.control.store import Store, unknown_image
from insula.domain.ids import Kind, is_id
from insula.domain.image import Image, ImageSource, ImageState, Provisioning
from insula.domain.instance import Firmware, MachineType
from insula.domain.published import PublishedImage, PublishedState, parse_reference

_STATES = {
    PublishedState.PUBLISHING: ImageState.BUILDING,
    PublishedState.AVAILABLE: ImageState.READY,
    PublishedState.FAILED: ImageState.FAILED,
    PublishedState.DELETED: ImageState.ABSENT,
}


class ImageNames:
    """Everything that a project sees."""

    def __init__(self, store: Store, nodes: Nodes) -> None:
        self._store = store
        self._nodes = nodes

    async def all(self, project: str) -> Sequence[Image]:
        """All that it may use, by name and version."""
        here = await self.of_nodes()
        published = [_described(found, here, project) for found in await self._store.images.visible(project)]
        common = [each for key, each in here.items() if not is_id(key, Kind.IMAGE)]
        return sorted((*common, *published), key=lambda each: (each.name, int(each.version) if each.id else 0))

    async def of_nodes(self) -> Mapping[str, Image]:
        """What nodes have or could have, by the names by which they know it."""
        found: dict[str, Image] = {}
        for node in self._nodes.names():
            for image in await self._nodes.get(node).images():
                found.setdefault(image.name, image)
        return found

    async def find(self, project: str, reference: str, *, to_use: bool = True) -> Image:
        """What `NAME`, `NAME@VERSION` or an id means. `to_use`, a name alone never means a deprecated version.

        Raises :class:`NotFound`, and :class:`Conflict` when it could mean several.
        """
        here = await self.of_nodes()
        visible = await self._store.images.visible(project)
        if is_id(reference, Kind.IMAGE):
            versions = [found for found in visible if found.id == reference]
            if not versions:
                raise unknown_image(reference)
            return _described(versions[0], here, project)
        wanted = parse_reference(reference)
        versions = _nearest([found for found in visible if found.name == wanted.name], project, reference)
        if wanted.version:
            versions = [found for found in versions if found.version == wanted.version]
        if versions:
            chosen = versions[0] if wanted.version else _newest(versions, to_use)
            return _described(chosen, here, project)
        if wanted.version or wanted.name not in here:
            raise unknown_image(reference)
        return here[wanted.name]

    async def own(self, project: str, reference: str) -> Sequence[PublishedImage]:
        """The project's published versions that a reference means: all of a name. Empty for what nobody published.

        Raises :class:`Forbidden` for what is another project's, and NotFound for an id or a version.
        """
        visible = await self._store.images.visible(project)
        if is_id(reference, Kind.IMAGE):
            found = [each for each in visible if each.id == reference]
            if not found:
                raise unknown_image(reference)
        else:
            wanted = parse_reference(reference)
            found = [each for each in visible if each.name == wanted.name and wanted.version in {0, each.version}]
            if wanted.version and not found:
                raise unknown_image(reference)
        mine = [each for each in found if each.project == project]
        if found and not mine:
            raise Forbidden(
                f"The image {reference[:80]} belongs to another project",
                why=f"Project {found[0].project} shares it; only there can it be changed",
                todo="Launch an instance from it, change that, and publish an image of your own",
                code="image-of-another-project",
            )
        return mine


def _nearest(found: Sequence[PublishedImage], project: str, reference: str) -> list[PublishedImage]:
    """The project's own, or those of the only one that shares such a name."""
    mine = [each for each in found if each.project == project]
    owners = sorted({each.project for each in found})
    if not mine and len(owners) > 1:
        raise Conflict(
            f"Several projects share an image {reference[:80]}",
            why=f"They are {', '.join(owners)}",
            todo="Name the one that you want by its id; `insula image list` shows it",
            code="ambiguous-image",
        )
    return mine or list(found)


def _newest(versions: Sequence[PublishedImage], to_use: bool) -> PublishedImage:
    """Available ones before others; deprecated ones only to be looked at."""
    current = [found for found in versions if not found.deprecated]
    ready = [found for found in current if found.state is PublishedState.AVAILABLE]
    if to_use and not current:
        raise Conflict(
            f"All versions of the image {versions[0].name} are deprecated",
            why="A name alone never means a deprecated version",
            todo=f"Name a version, like {versions[-1].reference}, or use another image",
            code="image-deprecated",
        )
    return (ready or current or versions)[-1]


def _described(found: PublishedImage, here: Mapping[str, Image], project: str) -> Image:
    """The record and what the node knows of it as one image."""
    state, problem = _STATES[found.state], found.problem
    of_node = here.get(found.id)
    if of_node is None and state is ImageState.READY:
        state, problem = ImageState.FAILED, "Its files are gone from the node"
    is_own = found.project == project
    facts = of_node or replace(here.get(found.base, _NOTHING), size_bytes=0, templates=(), made_at=None)
    return replace(
        facts,
        name=found.name,
        title=f"Published from {found.origin}" if is_own else f"Published by project {found.project}",
        source=ImageSource.PUBLISHED,
        state=state,
        version=str(found.version),
        problem=problem,
        id=found.id,
        project=found.project,
        deprecated=found.deprecated,
        shared_with=found.shared_with if is_own else (),
        shared_with_all=found.shared_with_all,
    )


_NOTHING = Image(
    name="",
    title="",
    source=ImageSource.PUBLISHED,
    state=ImageState.ABSENT,
    provisioning=Provisioning.INSULA,
    has_agent=True,
    firmware=Firmware.BIOS,
    machine_type=MachineType.Q35,
    min_memory_mib=0,
    min_disk_gib=1,
)
