"""Images: the catalogue, and what of it lies on the node."""

from __future__ import annotations

from dataclasses import asdict

from insula.base.errors import Conflict, InvalidInput, NotFound
from insula.control.actions.acceptance import Acceptor
from insula.control.actions.caller import Audit, Caller, Page, action
from insula.control.actions.faults import Faults
from insula.control.actions.ports import Nodes
from insula.control.actions.sizes import resources_of
from insula.control.store import Store
from insula.domain.access import Scope
from insula.domain.image import Image, ImageSource, ImageState
from insula.domain.names import check_name
from insula.domain.operation import Operation, Verb
from insula.domain.plan import find_plan

IMAGE_FORMATS = ("qcow2", "raw")


async def find_image(nodes: Nodes, name: str) -> Image | None:
    """The image of this name, absent ones of the catalogue included."""
    for node in nodes.names():
        for image in await nodes.get(node).images():
            if image.name == name:
                return image
    return None


class ImageActions:
    def __init__(self, store: Store, nodes: Nodes, acceptor: Acceptor) -> None:
        self.store = store
        self._nodes = nodes
        self._acceptor = acceptor

    @action("images.list", Scope.IMAGES_READ, audit=Audit.NEVER)
    async def list(self, caller: Caller) -> Page[Image]:
        found: dict[str, Image] = {}
        for node in self._nodes.names():
            for image in await self._nodes.get(node).images():
                found.setdefault(image.name, image)
        return Page(tuple(found[name] for name in sorted(found)))

    @action("images.show", Scope.IMAGES_READ, audit=Audit.NEVER)
    async def show(self, caller: Caller, name: str) -> Image:
        return await self._known(name)

    @action("images.prepare", Scope.IMAGES_WRITE, audit=Audit.ACCEPTED)
    async def prepare(self, caller: Caller, name: str) -> Operation:
        """Build or download it. Accepted also when it is ready: the operation then ends at once."""
        image = await self._known(name)
        if image.source is ImageSource.IMPORTED and image.state is not ImageState.READY:
            raise Conflict(
                f"The image {name} was imported and cannot be prepared again",
                why="Its file came from a user, not from the catalogue",
                todo=f"Delete it with `insula image delete {name}` and import it again",
                code="wrong-state",
            )
        return await self._acceptor.image(caller, image.name, Verb.PREPARE_IMAGE)

    @action("images.warm", Scope.IMAGES_WRITE, audit=Audit.ACCEPTED)
    async def warm(self, caller: Caller, name: str, plan: str) -> Operation:
        """Make the template that new instances of this plan go on from; the image is prepared first if need be."""
        image = await self._known(name)
        resources = resources_of(find_plan(plan))
        if resources.memory_mib < image.min_memory_mib or resources.disk_gib < image.min_disk_gib:
            raise InvalidInput(
                f"The plan {plan} is too small for {image.name}",
                why=f"It needs {image.min_memory_mib} MiB of memory and {image.min_disk_gib} GiB of disk",
                todo="Choose a larger plan",
                fields={"plan": f"too small for {image.name}"},
            )
        params = {"plan": plan, "resources": asdict(resources)}
        return await self._acceptor.image(caller, image.name, Verb.WARM_IMAGE, params=params)

    # Administrators only: the service would read any file of the host for whoever names its path.
    @action("images.import", Scope.ADMIN, audit=Audit.ACCEPTED)
    async def import_file(self, caller: Caller, name: str, path: str, image_format: str) -> Operation:
        """Import a disk image that lies on the host."""
        faults = Faults()
        with faults.of("name"):
            check_name(name)
        if not path.startswith("/") or "\x00" in path or len(path) > 4096:
            faults.note("path", "must be the absolute path of a file on the service's host")
        if image_format not in IMAGE_FORMATS:
            faults.note("image_format", f"must be one of {', '.join(IMAGE_FORMATS)}; it is never guessed")
        faults.raise_if_any("The image cannot be imported like this")
        if await find_image(self._nodes, name) is not None:
            raise Conflict(
                f"There is an image {name} already",
                why="Names of images are unique on a host",
                todo="Choose another name, or delete that image first",
                code="name-taken",
            )
        params = {"path": path, "image_format": image_format}
        return await self._acceptor.image(caller, name, Verb.IMPORT_IMAGE, params=params)

    @action("images.delete", Scope.IMAGES_WRITE, audit=Audit.ACCEPTED)
    async def delete(self, caller: Caller, name: str) -> Operation:
        """Remove its files from the host. Raises Conflict while instances use it."""
        image = await self._known(name)
        return await self._acceptor.image(caller, image.name, Verb.DELETE_IMAGE, unused=True)

    async def _known(self, name: str) -> Image:
        image = await find_image(self._nodes, name)
        if image is None:
            raise NotFound(
                f"There is no image {name[:80]!r}",
                why="It is neither in the catalogue nor imported",
                todo="`insula image list` shows all",
                code="unknown-image",
            )
        return image
