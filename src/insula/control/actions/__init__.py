"""Everything one may ask, one class per resource; front ends know nothing else of control."""

from __future__ import annotations

from insula.control.actions.acceptance import Acceptor
from insula.control.actions.access import Access
from insula.control.actions.addresses import AddressActions
from insula.control.actions.aliases import Aliases
from insula.control.actions.audit import AuditActions
from insula.control.actions.backup_schedules import BackupScheduleActions
from insula.control.actions.backup_stores import BackupStoreActions
from insula.control.actions.backups import BackupActions
from insula.control.actions.credentials import Credentials
from insula.control.actions.firewalls import FirewallActions
from insula.control.actions.forwards import ForwardActions
from insula.control.actions.guest import GuestActions
from insula.control.actions.history import HistoryActions
from insula.control.actions.host import HostActions
from insula.control.actions.images import ImageActions
from insula.control.actions.instances import InstanceActions
from insula.control.actions.keys import KeyActions
from insula.control.actions.networks import NetworkActions
from insula.control.actions.operations import OperationActions
from insula.control.actions.plans import PlanActions
from insula.control.actions.ports import Engine, Nodes, Scheduler, Spaces
from insula.control.actions.projects import ProjectActions
from insula.control.actions.published import PublishedActions
from insula.control.actions.sessions import SessionActions
from insula.control.actions.signing import SigningKeys
from insula.control.actions.snapshots import SnapshotActions
from insula.control.actions.tokens import TokenActions
from insula.control.actions.traffic import TrafficActions
from insula.control.actions.users import UserActions
from insula.control.actions.volumes import VolumeActions
from insula.control.store import (
    BackupFilter,
    Histories,
    InstanceFilter,
    OperationFilter,
    SnapshotFilter,
    Store,
    VolumeFilter,
)


class Actions:
    """The closed set of actions, put together from the rooms below."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        nodes: Nodes,
        spaces: Spaces,
        scheduler: Scheduler,
        *,
        signing: SigningKeys,
        histories: Histories,
    ) -> None:
        acceptor = Acceptor(store, engine, scheduler)
        self.access = Access(store, signing)
        self.aliases = Aliases(store)
        self.instances = InstanceActions(store, nodes, acceptor)
        self.guest = GuestActions(store, nodes)
        self.images = ImageActions(store, nodes, acceptor)
        self.published = PublishedActions(store, nodes, acceptor)
        self.volumes = VolumeActions(store, nodes, acceptor)
        self.snapshots = SnapshotActions(store, acceptor)
        self.backup_stores = BackupStoreActions(store, nodes, acceptor)
        self.backups = BackupActions(store, nodes, acceptor)
        self.backup_schedules = BackupScheduleActions(store)
        self.operations = OperationActions(store, engine)
        self.plans = PlanActions(store)
        self.networks = NetworkActions(store, spaces)
        self.traffic = TrafficActions(store, spaces)
        self.addresses = AddressActions(store, spaces, nodes)
        self.forwards = ForwardActions(store, spaces)
        self.firewalls = FirewallActions(store, spaces)
        self.keys = KeyActions(store, signing)
        self.tokens = TokenActions(store, signing)
        credentials = Credentials(store, signing)
        self.users = UserActions(store, self.access, credentials)
        self.sessions = SessionActions(store, self.access, credentials)
        self.projects = ProjectActions(store, self.access)
        self.host = HostActions(store, nodes, scheduler)
        self.history = HistoryActions(store, nodes, histories)
        self.audit = AuditActions(store)


__all__ = [
    "Actions",
    "BackupFilter",
    "InstanceFilter",
    "OperationFilter",
    "SigningKeys",
    "SnapshotFilter",
    "VolumeFilter",
]
