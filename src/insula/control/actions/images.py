"""Images: the catalogue, and what of it lies on the node."""

from __future__ import annotations

from dataclasses import asdict

from insula.base.errors import Conflict, InvalidInput
from insula.control.actions.acceptance import Acceptor
from insula.control.actions.caller import Audit, Caller, Page, action
from insula.control.actions.faults import Faults
from insula.control.actions.image_names import ImageNames
from insula.control.actions.ports import Nodes
from insula.control.actions.sizes import resources_of
from insula.control.store import Store
from insula.domain.access import Scope
from insula.domain.image import Image, ImageSource, ImageState
from insula.domain.instance import Platform
from insula.domain.names import check_name
from insula.domain.operation import Operation, Verb
from insula.domain.plan import find_plan

IMAGE_FORMATS = ("qcow2", "raw")


class ImageActions:
    def __init__(self, store: Store, nodes: Nodes, acceptor: Acceptor) -> None:
        self.store = store
        self._names = ImageNames(store, nodes)
        self._acceptor = acceptor

    @action("images.list", Scope.IMAGES_READ, audit=Audit.NEVER)
    async def list(self, caller: Caller) -> Page[Image]:
        """The host's, the project's own, and what others share with it."""
        return Page(tuple(await self._names.all(caller.project)))

    @action("images.show", Scope.IMAGES_READ, audit=Audit.NEVER)
    async def show(self, caller: Caller, name: str) -> Image:
        """A name alone is the newest version that is not deprecated, or the newest."""
        return await self._names.find(caller.project, name, to_use=False)

    @action("images.prepare", Scope.IMAGES_WRITE, audit=Audit.ACCEPTED)
    async def prepare(self, caller: Caller, name: str) -> Operation:
        """Build or download it. Accepted also when it is ready: the operation then ends at once."""
        image = await self._names.find(caller.project, name)
        _check_ready(image)
        if image.source is ImageSource.IMPORTED and image.state is not ImageState.READY:
            raise Conflict(
                f"The image {name} was imported and cannot be prepared again",
                why="Its file came from a user, not from the catalogue",
                todo=f"Delete it with `insula image delete {name}` and import it again",
                code="wrong-state",
            )
        return await self._acceptor.image(caller, image, Verb.PREPARE_IMAGE)

    @action("images.warm", Scope.IMAGES_WRITE, audit=Audit.ACCEPTED)
    async def warm(self, caller: Caller, name: str, plan: str) -> Operation:
        """Make the template that new instances of this plan go on from; the image is prepared first if need be."""
        image = await self._names.find(caller.project, name)
        _check_ready(image)
        resources = resources_of(find_plan(plan))
        if resources.memory_mib < image.min_memory_mib or resources.disk_gib < image.min_disk_gib:
            raise InvalidInput(
                f"The plan {plan} is too small for {image.name}",
                why=f"It needs {image.min_memory_mib} MiB of memory and {image.min_disk_gib} GiB of disk",
                todo="Choose a larger plan",
                fields={"plan": f"too small for {image.name}"},
            )
        params = {"plan": plan, "resources": asdict(resources)}
        return await self._acceptor.image(caller, image, Verb.WARM_IMAGE, params=params)

    # Administrators only: the service would read any file of the host for whoever names its path.
    @action("images.import", Scope.ADMIN, audit=Audit.ACCEPTED)
    async def import_file(
        self, caller: Caller, name: str, path: str, image_format: str, *, platform: Platform = Platform.NOCLOUD
    ) -> Operation:
        """Import a disk image that lies on the host."""
        faults = Faults()
        with faults.of("name"):
            check_name(name)
        if not path.startswith("/") or "\x00" in path or len(path) > 4096:
            faults.note("path", "must be the absolute path of a file on the service's host")
        if image_format not in IMAGE_FORMATS:
            faults.note("image_format", f"must be one of {', '.join(IMAGE_FORMATS)}; it is never guessed")
        if platform is Platform.AUTO:
            faults.note("platform", "must be nocloud, digitalocean, akamai or ec2")
        faults.raise_if_any("The image cannot be imported like this")
        published = await self.store.images.all()
        if name in await self._names.of_nodes() or any(found.name == name for found in published):
            raise Conflict(
                f"There is an image {name} already",
                why="Names of images are unique on a host",
                todo="Choose another name, or delete that image first",
                code="name-taken",
            )
        params = {"path": path, "image_format": image_format, "platform": platform.value}
        return await self._acceptor.named_image(caller, (name, name), Verb.IMPORT_IMAGE, params=params)

    @action("images.delete", Scope.IMAGES_WRITE, audit=Audit.ACCEPTED)
    async def delete(self, caller: Caller, name: str) -> Operation:
        """Remove a host's image, of which no instance may be made; or one version of a published image.

        The latter is gone for everybody at once, and its data when nothing uses it any more. Raises Conflict.
        """
        mine = await self._names.own(caller.project, name)
        if len(mine) > 1:
            raise Conflict(
                f"The image {name} has several versions",
                why=f"They are {', '.join(found.reference for found in mine)}",
                todo=f"Name one of them; `insula image delete {name} --all-versions` deletes all",
                code="several-versions",
            )
        image = await self._names.find(caller.project, mine[0].id if mine else name, to_use=False)
        return await self._acceptor.image(caller, image, Verb.DELETE_IMAGE, unused=not mine)


def _check_ready(image: Image) -> None:
    if image.id and image.state is not ImageState.READY:
        raise Conflict(
            f"The image {image.reference} is not ready",
            why=image.problem or f"It is {image.state}",
            todo=f"Look at it with `insula image show {image.reference}`",
            code="image-not-ready",
        )
