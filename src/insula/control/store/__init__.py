from insula.control.store.acceptance import BEFORE, Acceptance
from insula.control.store.accounts import Account, unknown_user
from insula.control.store.audit import AuditLine
from insula.control.store.backup_acceptance import Drilling
from insula.control.store.backup_schedules import unknown_schedule
from insula.control.store.backups import BackupFilter
from insula.control.store.completion import Completion
from insula.control.store.history import Histories
from insula.control.store.image_acceptance import Publishing
from insula.control.store.images import unknown_image
from insula.control.store.instances import InstanceFilter
from insula.control.store.operations import OperationFilter
from insula.control.store.snapshot_acceptance import SnapshotUse
from insula.control.store.snapshots import SnapshotFilter
from insula.control.store.store import Store
from insula.control.store.users import Link, unknown_link
from insula.control.store.volume_acceptance import Place, VolumeChange
from insula.control.store.volumes import VolumeFilter

__all__ = [
    "BEFORE",
    "Acceptance",
    "Account",
    "AuditLine",
    "BackupFilter",
    "Completion",
    "Drilling",
    "Histories",
    "InstanceFilter",
    "Link",
    "OperationFilter",
    "Place",
    "Publishing",
    "SnapshotFilter",
    "SnapshotUse",
    "Store",
    "VolumeChange",
    "VolumeFilter",
    "unknown_image",
    "unknown_link",
    "unknown_schedule",
    "unknown_user",
]
