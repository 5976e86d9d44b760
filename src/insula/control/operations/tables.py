"""Every verb and its table."""

from __future__ import annotations

from insula.control.operations.backups.check_store import CHECK_STORE
from insula.control.operations.backups.create_backup import CREATE_BACKUP
from insula.control.operations.backups.delete_backup import DELETE_BACKUP
from insula.control.operations.backups.drill_backup import DRILL_BACKUP
from insula.control.operations.backups.prune_store import PRUNE_STORE
from insula.control.operations.backups.repair_store import REPAIR_STORE
from insula.control.operations.engine.table import Tables
from insula.control.operations.images.delete_image import DELETE_IMAGE
from insula.control.operations.images.import_image import IMPORT_IMAGE
from insula.control.operations.images.prepare_image import PREPARE_IMAGE
from insula.control.operations.images.publish_image import PUBLISH_IMAGE
from insula.control.operations.images.warm_image import WARM_IMAGE
from insula.control.operations.instances.create_instance import CREATE_INSTANCE
from insula.control.operations.instances.delete_instance import DELETE_INSTANCE
from insula.control.operations.instances.fork_instance import FORK_INSTANCE
from insula.control.operations.instances.hibernate_instance import HIBERNATE_INSTANCE
from insula.control.operations.instances.pause_instance import PAUSE_INSTANCE
from insula.control.operations.instances.reboot_instance import REBOOT_INSTANCE
from insula.control.operations.instances.rebuild_instance import REBUILD_INSTANCE
from insula.control.operations.instances.resize_instance import RESIZE_INSTANCE
from insula.control.operations.instances.resume_instance import RESUME_INSTANCE
from insula.control.operations.instances.revert_instance import REVERT_INSTANCE
from insula.control.operations.instances.start_instance import START_INSTANCE
from insula.control.operations.instances.stop_instance import STOP_INSTANCE
from insula.control.operations.snapshots.create_snapshot import CREATE_SNAPSHOT
from insula.control.operations.snapshots.delete_snapshot import DELETE_SNAPSHOT
from insula.control.operations.volumes.attach_volume import ATTACH_VOLUME
from insula.control.operations.volumes.create_volume import CREATE_VOLUME
from insula.control.operations.volumes.delete_volume import DELETE_VOLUME
from insula.control.operations.volumes.detach_volume import DETACH_VOLUME
from insula.control.operations.volumes.grow_volume import GROW_VOLUME
from insula.control.operations.volumes.limit_volume import LIMIT_VOLUME

TABLES: Tables = {
    table.verb: table
    for table in (
        CREATE_INSTANCE,
        START_INSTANCE,
        STOP_INSTANCE,
        REBOOT_INSTANCE,
        PAUSE_INSTANCE,
        RESUME_INSTANCE,
        HIBERNATE_INSTANCE,
        FORK_INSTANCE,
        RESIZE_INSTANCE,
        REBUILD_INSTANCE,
        REVERT_INSTANCE,
        DELETE_INSTANCE,
        PREPARE_IMAGE,
        WARM_IMAGE,
        IMPORT_IMAGE,
        PUBLISH_IMAGE,
        DELETE_IMAGE,
        CREATE_VOLUME,
        ATTACH_VOLUME,
        DETACH_VOLUME,
        GROW_VOLUME,
        LIMIT_VOLUME,
        DELETE_VOLUME,
        CREATE_SNAPSHOT,
        DELETE_SNAPSHOT,
        CREATE_BACKUP,
        DELETE_BACKUP,
        DRILL_BACKUP,
        CHECK_STORE,
        PRUNE_STORE,
        REPAIR_STORE,
    )
}
