"""The shapes of `/v1/backups`, `/v1/backup-stores` and `/v1/backup-schedules`; see :mod:`schemas`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from insula.control.actions.backup_schedules import MAX_KEPT, MINUTES_A_DAY, ScheduleWish
from insula.control.actions.backup_stores import MAX_RATE_MIB_S, StoreWish
from insula.control.actions.backups import MAX_COMMAND_CHARS, BackupWish
from insula.domain.backup import BackupState, StoreKind, StorePlace
from insula.domain.retention import Keep
from insula.domain.schedule import Every
from insula.frontends.api.schemas import GuestPath, Name, PageQuery, Reference, Wish
from insula.protocol.backups import StoreSecret

InstanceName = Annotated[str, Meta(min_length=1, max_length=63, description="Name or id of an instance")]
StoreName = Annotated[str, Meta(min_length=1, max_length=63, description="Name or id of a backup store")]
Text = Annotated[str, Meta(max_length=1024, pattern=r"^[^\u0000\n]*$")]
Secret = Annotated[str, Meta(max_length=16384)]
Kept = Annotated[int, Meta(ge=0, le=MAX_KEPT)]


class AddStore(Wish, frozen=True):
    """A new backup store: a `folder` (`path`), `s3` (`bucket`, keys) or `ssh` (`host`, `user`, `path`, keys).

    `path` is the prefix in a bucket; an empty `endpoint` is Amazon's own. `host_key` is the other machine's, as in
    known_hosts without the name. `recovery_key` opens one that there is. Secrets are kept by the node alone.
    """

    name: Name
    kind: StoreKind
    path: Annotated[str, Meta(max_length=4096, pattern=r"^[^\u0000]*$")] = ""
    endpoint: Text = ""
    bucket: Text = ""
    region: Text = "us-east-1"
    host: Text = ""
    port: Annotated[int, Meta(ge=1, le=65535)] = 22
    user: Text = ""
    host_key: Secret = ""
    rate_mib_s: Annotated[int, Meta(ge=0, le=MAX_RATE_MIB_S, description="MiB a second; 0 is no limit")] = 0
    access_key: Secret = ""
    secret_key: Secret = ""
    private_key: Secret = ""
    recovery_key: Secret = ""

    def to_wish(self) -> StoreWish:
        place = StorePlace(
            kind=self.kind,
            path=self.path,
            endpoint=self.endpoint,
            bucket=self.bucket,
            region=self.region,
            host=self.host,
            port=self.port,
            user=self.user,
            host_key=self.host_key,
        )
        secret = StoreSecret(self.access_key, self.secret_key, self.private_key, self.recovery_key)
        return StoreWish(self.name, place, self.rate_mib_s, secret)


class CheckStore(Wish, frozen=True):
    """With `read_data` every byte is read, else only what is there is looked at."""

    read_data: bool = False


class CreateBackup(Wish, frozen=True):
    """A new backup of an instance. The store may be left out where there is one only."""

    instance: InstanceName
    store: StoreName | None = None
    name: Name | None = None
    protected: bool = False

    def to_wish(self) -> BackupWish:
        return BackupWish(self.instance, self.store or "", self.name or "", self.protected)


class ChangeBackup(Wish, frozen=True):
    """What changes at once; fields left out stay."""

    name: Name | None = None
    protected: bool | None = None


class DrillBackup(Wish, frozen=True):
    """A command line that is tried in the guest; it passes when that ends with 0."""

    command: Annotated[str, Meta(max_length=MAX_COMMAND_CHARS, pattern=r"^[^\u0000]*$")] = ""


class BackupQuery(PageQuery, frozen=True):
    state: BackupState | None = None
    name: Reference = ""
    instance: Annotated[str, Meta(max_length=63, description="Name or id of an instance, also of one that is gone")] = (
        ""
    )
    store: Annotated[str, Meta(max_length=63, description="Name or id of a backup store")] = ""


class BackupFileQuery(Wish, frozen=True):
    path: GuestPath = "/"


class KeepBackups(Wish, frozen=True):
    """Of how many hours, days, weeks and months the newest backup is kept; all 0 keeps all."""

    hourly: Kept = 0
    daily: Kept = 0
    weekly: Kept = 0
    monthly: Kept = 0


class SetSchedule(Wish, frozen=True):
    """When backups are made (UTC), which are kept, and how often the newest one is tried (null: never)."""

    store: StoreName
    every: Every
    at_minute: Annotated[int, Meta(ge=0, lt=MINUTES_A_DAY, description="Minute of the day in UTC")] = 180
    keep: KeepBackups = field(default_factory=KeepBackups)
    drill: Every | None = None

    def to_wish(self) -> ScheduleWish:
        keep = Keep(self.keep.hourly, self.keep.daily, self.keep.weekly, self.keep.monthly)
        return ScheduleWish(self.store, self.every, self.at_minute, keep, self.drill)
