"""One example of each shape, for the OpenAPI description and docs/api.md; a test proves that they fit their schemas."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from insula.control.actions.backup_stores import AddedStore, RemovedStore, StoreKey
from insula.domain.access import Project, Scope, SshKey, Token
from insula.domain.address import AddressPool, Assignment, ReservedAddress
from insula.domain.backup import Backup, BackupState, BackupStore, Drill, StoreKind, StorePlace, StoreState
from insula.domain.firewall import Action, Direction, PeerKind, PortRange, Rule, Traffic
from insula.domain.history import UNITS, Metric
from insula.domain.image import Image, ImageSource, ImageState, ImageTemplate, Provisioning
from insula.domain.instance import (
    BootPhase,
    Firmware,
    InstanceState,
    MachineType,
    Platform,
    PortForward,
    Resources,
    RestartPolicy,
)
from insula.domain.operation import Operation, OperationState, StepReport, StepState, Verb
from insula.domain.plan import PLANS, Plan
from insula.domain.port import Port
from insula.domain.project_firewall import ProjectFirewall
from insula.domain.project_network import ProjectNetwork
from insula.domain.retention import Keep
from insula.domain.schedule import BackupSchedule, Every
from insula.domain.snapshot import Consistency, Snapshot, SnapshotKind, SnapshotState
from insula.domain.traffic import Counts, HourTraffic, InstanceTraffic
from insula.domain.user import Member, Membership, Role, Session, User, UserWithRoles
from insula.domain.volume import FileSystem, Volume, VolumeState
from insula.frontends.api import (
    access_schemas,
    address_schemas,
    backup_schemas,
    firewall_schemas,
    image_schemas,
    metric_schemas,
    network_schemas,
    schemas,
    snapshot_schemas,
    user_schemas,
    volume_schemas,
)
from insula.protocol.node import ExecResult

_AT = datetime(2026, 1, 31, 8, 15, tzinfo=UTC)
_INSTANCE_ID = "ins_01kg8yq8e0000000000000web1"
_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGihrpT22+K63uRJhB+YFpOBBCOPoNY8mq6XHCwEWrDG ada@laptop"
_MIDDLE = PLANS["entry-2"]

_INSTANCE = schemas.InstanceView(
    id=_INSTANCE_ID,
    project="default",
    name="web1",
    state=InstanceState.RUNNING,
    image="debian-12",
    plan="entry-2",
    resources=Resources(2, 2048, 50, 200, 100, 5000, 200, 1000),
    hostname="web1",
    mac="02:4f:1c:9a:22:01",
    node="local",
    created_at=_AT,
    updated_at=_AT,
    ssh_keys=(_KEY,),
    forwards=(PortForward(22, 20022),),
    ssh_port=20022,
    tags=("web",),
    protected=False,
    firmware=Firmware.AUTO,
    machine_type=MachineType.AUTO,
    platform=Platform.AUTO,
    restart_policy=RestartPolicy.ALWAYS,
    boot_phases=(BootPhase("kernel", 900, 1800), BootPhase("ready", 9000, 40)),
    problem="",
    started_at=_AT,
    restarts=0,
    lease_s=None,
    lease_until=None,
    snapshot_id=None,
    ports=(
        Port(
            *("prt_01kg8yq8e00000000000000001", 1, _INSTANCE_ID, "net_01kg8yq8e00000000000000001"),
            *("02:4f:1c:9a:22:01", "10.42.0.16", "fd4a:91c2:77e0::10"),
        ),
    ),
)

_NETWORK = ProjectNetwork(
    *("net_01kg8yq8e00000000000000001", "default", "default", 1, "10.42.0.0/16", "fd4a:91c2:77e0::/64", True, _AT),
)

_USE = metric_schemas.UseView(_INSTANCE_ID, "web1", _AT, {Metric.CPU: 12.5, Metric.MEMORY: 310_378_496.0})
_HISTORY = metric_schemas.HistoryView(
    _INSTANCE_ID,
    60,
    (_AT, _AT + timedelta(minutes=1)),
    (metric_schemas.SeriesView(Metric.CPU, UNITS[Metric.CPU], (12.5, None), (40.25, None)),),
)
_COUNTS = Counts(1_482_113, 9_120, 73_400_320, 52_007)
_POOL = AddressPool("apl_01kg8yq8e00000000000public", "public", "local", "203.0.113.1", "203.0.113.14", _AT)
_ADDRESS = ReservedAddress(
    *("adr_01kg8yq8e00000000000000001", "default", "203.0.113.1", _POOL.id, _INSTANCE_ID, _AT),
)

_FIREWALL = ProjectFirewall(
    id="fwl_01kg8yq8e00000000000000web",
    project="default",
    name="web",
    rules=(
        Rule(
            "rul_01kg8yq8e00000000000000web",
            Direction.INBOUND,
            traffic=Traffic.TCP,
            ports=(PortRange(80, 80), PortRange(443, 443)),
        ),
    ),
    instances=(_INSTANCE_ID,),
    tags=("web",),
    inbound_default=Action.DROP,
    outbound_default=Action.ACCEPT,
    created_at=_AT,
    updated_at=_AT,
)

_OPERATION = Operation(
    id="op_01kg8yq8e00000000000000001",
    project="default",
    verb=Verb.CREATE_INSTANCE,
    target=_INSTANCE_ID,
    target_name="web1",
    state=OperationState.RUNNING,
    params={},
    requested_by="token:ci",
    created_at=_AT,
    updated_at=_AT,
    steps=(StepReport("make_disk", StepState.DONE, 28), StepReport("start", StepState.RUNNING)),
)

_VOLUME = volume_schemas.view(
    Volume(
        id="vol_01kg8yq8e00000000000000001",
        project="default",
        name="data",
        size_gib=10,
        file_system=FileSystem.EXT4,
        state=VolumeState.ATTACHED,
        node="local",
        instance_id=_INSTANCE_ID,
        created_at=_AT,
        updated_at=_AT,
        tags=("env:prod",),
    )
)

_SNAPSHOT = Snapshot(
    id="snp_01kg8yq8e00000000000000001",
    project="default",
    name="before-upgrade",
    instance_id=_INSTANCE_ID,
    parent_id=None,
    kind=SnapshotKind.DISK,
    state=SnapshotState.AVAILABLE,
    node="local",
    created_at=_AT,
    updated_at=_AT,
    image="debian-12",
    plan="entry-2",
    resources=Resources(2, 2048, 50, 200, 100, 5000, 200, 1000),
    firmware=Firmware.AUTO,
    machine_type=MachineType.AUTO,
    consistency=Consistency.FILESYSTEM,
    size_bytes=734003200,
)

_STORE = BackupStore(
    id="sto_01kg8yq8e00000000000000001",
    project="default",
    name="elsewhere",
    state=StoreState.AVAILABLE,
    place=StorePlace(StoreKind.S3, "insula", "https://s3.example.org", "backups"),
    node="local",
    created_at=_AT,
    updated_at=_AT,
)

_BACKUP = Backup(
    id="bkp_01kg8yq8e00000000000000001",
    project="default",
    name="web1-20260131-0815",
    store_id=_STORE.id,
    instance_id=_INSTANCE_ID,
    instance_name="web1",
    state=BackupState.AVAILABLE,
    node="local",
    created_at=_AT,
    updated_at=_AT,
    image="debian-12",
    plan="entry-2",
    resources=Resources(2, 2048, 50, 200, 100, 5000, 200, 1000),
    firmware=Firmware.AUTO,
    machine_type=MachineType.AUTO,
    consistency=Consistency.FILESYSTEM,
    size_bytes=53687091200,
    read_bytes=104857600,
    added_bytes=41943040,
    based_on="bkp_01kg8yq8e00000000000000000",
    scheduled=True,
    drills=(Drill(_AT, True, 21000, "systemctl is-active nginx", 0, "active\n", "web1 login: "),),
)

_SCHEDULE = BackupSchedule(
    instance_id=_INSTANCE_ID,
    project="default",
    store_id=_STORE.id,
    every=Every.DAILY,
    at_minute=180,
    keep=Keep(daily=7, weekly=4, monthly=6),
    drill=Every.WEEKLY,
    created_at=_AT,
    updated_at=_AT,
    next_at=_AT,
    drill_at=_AT,
)

_USER = User("usr_01kg8yq8e00000000000000001", "ada@example.org", _AT, False, True, False, False)
_MEMBER = Member(_USER, Role.MEMBER)
_SESSION = Session("ses_01kg8yq8e00000000000000001", _USER.name, _AT, _AT, _AT, "Mozilla/5.0", "192.0.2.7")
_TOKEN = Token(
    id="tok_01kg8yq8e00000000000000001",
    name="ci",
    project="default",
    scopes=frozenset({Scope.INSTANCES_WRITE}),
    created_at=_AT,
    expires_at=None,
    last_used_at=None,
    revoked=False,
)

EXAMPLES: Mapping[Any, Any] = {
    schemas.CreateInstance: schemas.CreateInstance(
        name="web1",
        ssh_keys=[_KEY],
        forwards=[schemas.Forward(guest_port=80, host_port=8080)],
        tags=["web"],
        user_data="#cloud-config\npackages: [nginx]\n",
    ),
    schemas.ChangeInstance: schemas.ChangeInstance(name="web2", tags=["web", "env:prod"], protected=True),
    schemas.Forward: schemas.Forward(guest_port=443, host_port=8443, host_address="0.0.0.0"),  # noqa: S104 - an example
    schemas.LeaseInstance: schemas.LeaseInstance(lease_s=600),
    schemas.StopInstance: schemas.StopInstance(),
    schemas.ForkInstance: schemas.ForkInstance(count=2),
    schemas.ResizeInstance: schemas.ResizeInstance(plan="middle-2"),
    schemas.RebuildInstance: schemas.RebuildInstance(image="debian-12"),
    network_schemas.CreateNetwork: network_schemas.CreateNetwork(name="backend", ipv4="10.7.0.0/24", gateway=False),
    network_schemas.ChangeNetwork: network_schemas.ChangeNetwork(gateway=True),
    network_schemas.OtherNetwork: network_schemas.OtherNetwork(network="backend"),
    address_schemas.CreatePool: address_schemas.CreatePool(name="public", addresses="203.0.113.0/28"),
    address_schemas.ReserveAddress: address_schemas.ReserveAddress(pool="public", instance="web1"),
    address_schemas.AssignAddress: address_schemas.AssignAddress(instance="web2"),
    metric_schemas.HistoryView: _HISTORY,
    schemas.ListOf[metric_schemas.UseView]: schemas.ListOf([_USE]),
    InstanceTraffic: InstanceTraffic(_INSTANCE_ID, _AT, _COUNTS, (HourTraffic(_AT, _COUNTS),)),
    AddressPool: _POOL,
    schemas.ListOf[AddressPool]: schemas.ListOf([_POOL]),
    ReservedAddress: _ADDRESS,
    schemas.PageOf[ReservedAddress]: schemas.PageOf(items=[_ADDRESS]),
    schemas.ListOf[Assignment]: schemas.ListOf([Assignment(_ADDRESS.address, _INSTANCE_ID, "web1", _AT, None)]),
    ProjectNetwork: _NETWORK,
    schemas.PageOf[ProjectNetwork]: schemas.PageOf(items=[_NETWORK]),
    firewall_schemas.CreateFirewall: firewall_schemas.CreateFirewall(
        name="web",
        rules=[
            firewall_schemas.NewRule(
                direction=Direction.INBOUND,
                traffic=Traffic.TCP,
                ports=[firewall_schemas.NewPorts(first=443, last=443)],
            )
        ],
        tags=["web"],
    ),
    firewall_schemas.ChangeFirewall: firewall_schemas.ChangeFirewall(outbound_default=Action.DROP),
    firewall_schemas.AddRule: firewall_schemas.AddRule(
        rule=firewall_schemas.NewRule(
            direction=Direction.INBOUND,
            traffic=Traffic.TCP,
            ports=[firewall_schemas.NewPorts(first=5432, last=5432)],
            peers=[firewall_schemas.NewPeer(kind=PeerKind.TAG, value="web")],
        ),
        position=1,
    ),
    firewall_schemas.Applies: firewall_schemas.Applies(instances=["web1"]),
    firewall_schemas.TestFirewalls: firewall_schemas.TestFirewalls(instance="web1", peer="192.0.2.7", port=22),
    ProjectFirewall: _FIREWALL,
    schemas.PageOf[ProjectFirewall]: schemas.PageOf(items=[_FIREWALL]),
    volume_schemas.CreateVolume: volume_schemas.CreateVolume(
        name="data", size_gib=10, file_system=FileSystem.EXT4, attach_to="web1"
    ),
    volume_schemas.ChangeVolume: volume_schemas.ChangeVolume(tags=["env:prod"], protected=True),
    volume_schemas.AttachVolume: volume_schemas.AttachVolume(instance="web1"),
    volume_schemas.DetachVolume: volume_schemas.DetachVolume(),
    volume_schemas.GrowVolume: volume_schemas.GrowVolume(size_gib=20),
    volume_schemas.LimitVolume: volume_schemas.LimitVolume(disk_iops=500, disk_mbps=20),
    volume_schemas.VolumeView: _VOLUME,
    schemas.PageOf[volume_schemas.VolumeView]: schemas.PageOf(items=[_VOLUME]),
    snapshot_schemas.CreateSnapshot: snapshot_schemas.CreateSnapshot(instance="web1", name="before-upgrade"),
    snapshot_schemas.ChangeSnapshot: snapshot_schemas.ChangeSnapshot(tags=["env:prod"], protected=True),
    snapshot_schemas.RevertInstance: snapshot_schemas.RevertInstance(snapshot="before-upgrade"),
    Snapshot: _SNAPSHOT,
    schemas.PageOf[Snapshot]: schemas.PageOf(items=[_SNAPSHOT]),
    backup_schemas.AddStore: backup_schemas.AddStore(name="elsewhere", kind=StoreKind.FOLDER, path="/mnt/backups"),
    backup_schemas.CheckStore: backup_schemas.CheckStore(read_data=True),
    backup_schemas.CreateBackup: backup_schemas.CreateBackup(instance="web1", store="elsewhere"),
    backup_schemas.ChangeBackup: backup_schemas.ChangeBackup(protected=True),
    backup_schemas.DrillBackup: backup_schemas.DrillBackup(command="systemctl is-active nginx"),
    backup_schemas.SetSchedule: backup_schemas.SetSchedule(
        store="elsewhere",
        every=Every.DAILY,
        keep=backup_schemas.KeepBackups(daily=7, weekly=4, monthly=6),
        drill=Every.WEEKLY,
    ),
    BackupStore: _STORE,
    schemas.PageOf[BackupStore]: schemas.PageOf(items=[_STORE]),
    AddedStore: AddedStore(_STORE, True, "…"),
    RemovedStore: RemovedStore(3),
    StoreKey: StoreKey("…"),
    Backup: _BACKUP,
    schemas.PageOf[Backup]: schemas.PageOf(items=[_BACKUP]),
    BackupSchedule: _SCHEDULE,
    schemas.ListOf[BackupSchedule]: schemas.ListOf([_SCHEDULE]),
    schemas.Execute: schemas.Execute(argv=["id", "-u"]),
    schemas.SetHostname: schemas.SetHostname(hostname="web1.example.org"),
    image_schemas.PublishImage: image_schemas.PublishImage(name="my-web", source="web1"),
    image_schemas.DeprecateImage: image_schemas.DeprecateImage(),
    image_schemas.ShareImage: image_schemas.ShareImage(project="staging"),
    image_schemas.ImportImage: image_schemas.ImportImage(name="appliance", path="/srv/appliance.qcow2"),
    access_schemas.RenameKey: access_schemas.RenameKey(name="desktop"),
    access_schemas.AddKey: access_schemas.AddKey(name="laptop", public_key=_KEY),
    access_schemas.CreateToken: access_schemas.CreateToken(
        name="ci", scopes=[Scope.INSTANCES_WRITE], expires_in_days=90
    ),
    access_schemas.CreateProject: access_schemas.CreateProject(name="shop"),
    user_schemas.InviteUser: user_schemas.InviteUser(name=_USER.name, role=Role.MEMBER),
    user_schemas.SetRole: user_schemas.SetRole(role=Role.READER),
    user_schemas.ResetPassword: user_schemas.ResetPassword(),
    user_schemas.LinkView: user_schemas.LinkView(_USER, "/panel/invitation?key=…"),
    user_schemas.FirstLinkView: user_schemas.FirstLinkView("/panel/first?key=…"),
    User: _USER,
    Member: _MEMBER,
    schemas.PageOf[Member]: schemas.PageOf(items=[_MEMBER]),
    schemas.PageOf[UserWithRoles]: schemas.PageOf(
        items=[UserWithRoles(_USER, (Membership("default", Role.MEMBER, _AT),))]
    ),
    schemas.PageOf[Session]: schemas.PageOf(items=[_SESSION]),
    schemas.Repair: schemas.Repair(remove=False),
    schemas.InstanceView: _INSTANCE,
    schemas.PageOf[schemas.InstanceView]: schemas.PageOf(items=[_INSTANCE]),
    Operation: _OPERATION,
    schemas.PageOf[Operation]: schemas.PageOf(items=[_OPERATION]),
    ExecResult: ExecResult(0, b"0\n", b""),
    schemas.Written: schemas.Written(1024),
    Image: Image(
        name="debian-12",
        title="Debian 12",
        source=ImageSource.BUILT,
        state=ImageState.READY,
        provisioning=Provisioning.INSULA,
        has_agent=True,
        firmware=Firmware.BIOS,
        machine_type=MachineType.Q35,
        min_memory_mib=256,
        min_disk_gib=3,
        size_bytes=900_000_000,
        version="12",
        made_at=_AT,
        templates=(ImageTemplate(2, 2048, 50, _AT, _AT, 260_000_000, True),),
    ),
    schemas.PageOf[Plan]: schemas.PageOf(items=[_MIDDLE]),
    SshKey: SshKey(
        "key_01kg8yq8e00000000000000001", "default", "laptop", _KEY, "SHA256:6GvzXb3oUqX2b5m0Yq7c3y1r0kJm8cQ", _AT
    ),
    access_schemas.NewTokenView: access_schemas.NewTokenView(_TOKEN, "insula_…", "IK…", "…"),
    Project: Project("shop", _AT),
    access_schemas.IdentityView: access_schemas.IdentityView("token:ci", "default", [Scope.INSTANCES_WRITE]),
    schemas.Health: schemas.Health("ok", "0.1.0"),
}
