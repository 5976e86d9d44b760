"""Published images: everything that may be asked of them beyond what all images can do."""

from __future__ import annotations

from dataclasses import dataclass

from insula.base.clock import now_utc
from insula.base.errors import Conflict, NotFound, Unsupported
from insula.control.actions.acceptance import Acceptor
from insula.control.actions.caller import Audit, Caller, action
from insula.control.actions.faults import Faults
from insula.control.actions.image_names import ImageNames
from insula.control.actions.ports import Nodes
from insula.control.store import Publishing, Store, unknown_image
from insula.domain.access import Scope
from insula.domain.ids import Kind, is_id, new_id
from insula.domain.image import Image, ImageSource, Provisioning
from insula.domain.names import check_name
from insula.domain.operation import Operation
from insula.domain.published import PublishedImage, PublishedState


@dataclass(frozen=True)
class PublishWish:
    """An image `name` of a `source`: an instance as it is now, INSTANCE@SNAPSHOT (names or ids), or a snapshot's id."""

    name: str
    source: str


class PublishedActions:
    """`image` is NAME, NAME@VERSION or an id everywhere; NAME alone is all versions of the project's own."""

    def __init__(self, store: Store, nodes: Nodes, acceptor: Acceptor) -> None:
        self.store = store
        self._names = ImageNames(store, nodes)
        self._acceptor = acceptor

    @action("images.publish", Scope.IMAGES_WRITE, audit=Audit.ACCEPTED)
    async def publish(self, caller: Caller, wish: PublishWish) -> Operation:
        """Make the next version of a name of an instance's disk. Raises InvalidInput, Conflict and Unsupported."""
        faults = Faults()
        with faults.of("name"):
            check_name(wish.name)
        faults.raise_if_any(f"The image {wish.name[:80]!r} cannot be published like this")
        here = await self._names.of_nodes()
        if wish.name in here:
            raise Conflict(
                f"There is an image {wish.name} already",
                why="It is the host's, and all projects know it by that name",
                todo="Choose another name",
                code="name-taken",
                fields={"name": "taken"},
            )
        new, publishing = await self._source(caller, wish)
        base = here.get(new.base)
        is_strange = base is not None and base.source in {ImageSource.IMPORTED, ImageSource.DOWNLOADED}
        if is_strange or (base is not None and base.provisioning is not Provisioning.INSULA):
            raise Unsupported(
                f"Instances of {new.base} cannot be published as images",
                why="What is one instance's own can be taken out of systems only that Insula built",
                todo="Publish an instance of debian-12, tiny or an image that was published from one",
                code="cannot-publish",
            )
        return await self._acceptor.publish(caller, publishing)

    @action("images.deprecate", Scope.IMAGES_WRITE, audit=Audit.AFTER)
    async def deprecate(self, caller: Caller, image: str, deprecated: bool) -> Image:
        """Let a name alone not mean this version any more (or all versions there are), or take that back."""
        found = await self._own(caller, image)
        for each in found:
            await self.store.images.deprecate(caller.project, each.id, deprecated)
        return await self._names.find(caller.project, found[-1].id, to_use=False)

    @action("images.share", Scope.IMAGES_WRITE, audit=Audit.AFTER)
    async def share(self, caller: Caller, image: str, project: str | None, is_shared: bool) -> Image:
        """Let another project (None: all) see and launch all versions of a name, or end that; it changes none.

        Instances that it has by then stay.
        """
        found = await self._own(caller, image)
        if "@" in image:
            raise Conflict(
                "A version alone cannot be shared",
                why="All versions of a name are shared, later ones too",
                todo=f"Share {found[0].name}",
                code="version-alone",
            )
        await self.store.images.share(caller.project, found[0].name, add=is_shared, other=project)
        return await self._names.find(caller.project, found[-1].id, to_use=False)

    async def _own(self, caller: Caller, image: str) -> list[PublishedImage]:
        found = list(await self._names.own(caller.project, image))
        if found:
            return found
        if image in await self._names.of_nodes():
            raise Unsupported(
                f"The image {image} is the host's",
                why="All projects use it; only published images are deprecated or shared",
                todo="Publish an image of an instance of it",
                code="not-published",
            )
        raise unknown_image(image)

    async def _source(self, caller: Caller, wish: PublishWish) -> tuple[PublishedImage, Publishing]:
        named, _, kept = wish.source.partition("@")
        if is_id(wish.source, Kind.SNAPSHOT):
            named, kept = "", wish.source
        host = await self.store.instances.get(caller.project, named) if named else None
        snapshot = await self.store.snapshots.get(caller.project, kept) if kept else None
        if snapshot is not None and host is not None and snapshot.instance_id != host.id:
            raise NotFound(
                f"Instance {host.name} has no snapshot {snapshot.name}",
                why="It is one of another instance",
                todo=f"Look at `insula snapshot list --instance {host.name}`",
                code="unknown-snapshot",
            )
        now = now_utc()
        source = snapshot or host
        if source is None:
            raise NotFound("There is no instance without a name", todo="Look at `insula list`", code="unknown-instance")
        new = PublishedImage(
            id=new_id(Kind.IMAGE),
            project=caller.project,
            name=wish.name,
            version=0,
            state=PublishedState.PUBLISHING,
            node=source.node,
            base=source.image,
            origin=f"snapshot {source.name}" if snapshot is not None else source.name,
            created_at=now,
            updated_at=now,
        )
        if snapshot is not None:
            return new, Publishing(new, snapshot.id)
        return new, Publishing(new, new_id(Kind.SNAPSHOT), host.id if host is not None else "")
