"""All instances of a node: those that it keeps, and those whose records are damaged."""

from __future__ import annotations

from pathlib import Path

from insula.base.errors import DataCorrupt, NotFound
from insula.node.agent.backup_points import BackupPoints
from insula.node.agent.keeper import InstanceKeeper
from insula.node.agent.snapshot_store import SnapshotStore
from insula.protocol.node import Power


class Population:
    """Knows them, and what they, their snapshots and their backups need. `folder` is where they are."""

    def __init__(self, folder: Path, snapshots: SnapshotStore, backups: BackupPoints) -> None:
        self._folder = folder
        self._snapshots = snapshots
        self._backups = backups
        self.keepers: dict[str, InstanceKeeper] = {}
        self.damaged: dict[str, DataCorrupt] = {}
        self.held: frozenset[Path] = frozenset()  # files that somebody else needs for a while

    def get(self, instance_id: str) -> InstanceKeeper:
        """Raises NotFound, and DataCorrupt for one whose record is damaged."""
        if (keeper := self.keepers.get(instance_id)) is not None:
            return keeper
        if (error := self.damaged.get(instance_id)) is not None:
            raise DataCorrupt(error.what, why=error.why, todo=error.todo, code=error.code)
        raise NotFound(
            f"This node has no instance {instance_id[:80]}",
            why=f"It is not among the {len(self.keepers)} in {self._folder}",
            todo="Look at `insula list`",
        )

    @property
    def is_known(self) -> bool:
        """Whether all that disks and snapshots need is known."""
        return not self.damaged and not self._snapshots.damaged

    def disks_in_use(self) -> frozenset[Path]:
        """All files that disks, snapshots and backups are based on, as far as is known."""
        records = (keeper.record for keeper in self.keepers.values())
        images = (image for record in records for image in (record.image, record.image_aside) if image)
        own = frozenset(disk for image in images for disk in image.disks)
        return own | self._snapshots.disks | self._backups.disks | self.held

    def all_disks_in_use(self) -> frozenset[Path] | None:
        """The same, None while some may not be known."""
        return self.disks_in_use() if self.is_known else None

    def users_of_image(self, name: str) -> list[str]:
        """Instances and snapshots whose disks are based on the image."""
        users = [keeper.record.spec.name for keeper in self.keepers.values() if keeper.record.uses_image(name)]
        return [*sorted(users), *self._snapshots.uses_image(name)]

    def promised_mib(self) -> int:
        """The memory that all of them may take."""
        return sum(keeper.record.spec.resources.memory_mib for keeper in self.keepers.values())

    def is_busy(self) -> bool:
        """Whether one of them is worked on, or boots."""
        return any(keeper.lock.locked() or keeper.power is Power.BOOTING for keeper in self.keepers.values())
