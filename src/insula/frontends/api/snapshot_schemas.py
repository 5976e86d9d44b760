"""The shapes of `/v1/snapshots`; see :mod:`schemas`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from insula.control.actions.snapshots import SnapshotWish
from insula.domain.snapshot import SnapshotKind, SnapshotState
from insula.frontends.api.schemas import Name, PageQuery, Reference, Tags, Wish

InstanceName = Annotated[str, Meta(min_length=1, max_length=63, description="Name or id of an instance")]
SnapshotName = Annotated[str, Meta(min_length=1, max_length=63, description="Name or id of a snapshot")]


class CreateSnapshot(Wish, frozen=True):
    """A new snapshot of an instance; without a name it gets the instance's with a number."""

    instance: InstanceName
    name: Name | None = None
    kind: SnapshotKind = SnapshotKind.DISK
    tags: Tags = field(default_factory=list)
    protected: bool = False

    def to_wish(self) -> SnapshotWish:
        return SnapshotWish(
            instance=self.instance,
            name=self.name or "",
            kind=self.kind,
            tags=tuple(self.tags),
            protected=self.protected,
        )


class ChangeSnapshot(Wish, frozen=True):
    """What changes at once; fields left out stay."""

    name: Name | None = None
    tags: Tags | None = None
    protected: bool | None = None


class RevertInstance(Wish, frozen=True):
    """The snapshot of it that it goes back to; with `disk_only` it boots, though there is memory to go on from."""

    snapshot: SnapshotName
    disk_only: bool = False


class SnapshotQuery(PageQuery, frozen=True):
    state: SnapshotState | None = None
    tag: Annotated[str, Meta(max_length=255)] = ""
    name: Reference = ""
    instance: Annotated[str, Meta(max_length=63, description="Name or id of an instance")] = ""
