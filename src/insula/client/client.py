"""`Client`: the service as Python objects, one attribute per resource."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

from insula.base import settings
from insula.base.errors import Unavailable
from insula.client.access import Audit, Keys, Projects, Tokens
from insula.client.addresses import Addresses
from insula.client.backups import Backups
from insula.client.connection import Connection
from insula.client.decode import build
from insula.client.firewalls import Firewalls
from insula.client.guest import Guest
from insula.client.host import Host, Plans
from insula.client.images import Images
from insula.client.instances import Instances
from insula.client.networks import Networks
from insula.client.operations import Operations
from insula.client.snapshots import Snapshots
from insula.client.users import Users
from insula.client.volumes import Volumes
from insula.domain.access import Identity
from insula.domain.instance import PortForward

if TYPE_CHECKING:
    from insula.client.sandbox import Sandbox


class Client:
    """Talks to `/v1`, synchronously, over TCP or the Unix socket.

    `url` is `http://host:port` or `unix:/path`; what is not given comes from INSULA_URL, INSULA_TOKEN and
    INSULA_PROJECT. Methods return the values of `insula.domain` and raise the errors of `insula.base.errors`, the very
    ones the service raised; :class:`~insula.base.errors.Unavailable` when the service does not answer. Threads may
    share one.
    """

    def __init__(self, url: str = "", token: str = "", project: str = "", *, timeout_s: float = 30.0) -> None:
        found = settings.load()
        self.settings = replace(
            found, url=url or found.url, token=token or found.token, project=project or found.project
        )
        self.connection = Connection(self.settings.url, self.settings.token, self.settings.project, timeout_s=timeout_s)
        self.operations = Operations(self.connection)
        self.instances = Instances(self.connection)
        self.volumes = Volumes(self.connection)
        self.snapshots = Snapshots(self.connection)
        self.backups = Backups(self.connection)
        self.guest = Guest(self.connection)
        self.images = Images(self.connection)
        self.plans = Plans(self.connection)
        self.keys = Keys(self.connection)
        self.networks = Networks(self.connection)
        self.addresses = Addresses(self.connection)
        self.firewalls = Firewalls(self.connection)
        self.tokens = Tokens(self.connection)
        self.projects = Projects(self.connection)
        self.users = Users(self.connection)
        self.audit = Audit(self.connection)
        self.host = Host(self.connection)

    def whoami(self) -> Identity:
        """Who the service takes us for, in which project, with which scopes."""
        return build(Identity, self.connection.get("/v1/identity"))

    def health(self, *, timeout_s: float = 5.0) -> dict[str, Any]:
        """`{"status": "ok", "version": …}`; needs no token. Raises Unavailable when nobody answers."""
        answer: dict[str, Any] = self.connection.request("GET", "/v1/health", timeout_s=timeout_s)
        return answer

    def authority(self) -> str:
        """The certificate (PEM) of the authority to trust over HTTPS. Raises NotFound when nothing is served there."""
        return str(self.connection.get("/v1/ca")["certificate"])

    def ensure_service(self, *, on_start: Callable[[], None] | None = None) -> None:
        """Start the service of our INSULA_HOME unless it answers; `on_start` is called before.

        Raises what keeps it from starting, and Unavailable when another's service does not answer.
        """
        try:
            self.health()
            return
        except Unavailable:
            if not self.settings.is_local:
                raise
        if on_start is not None:
            on_start()
        from insula.client.service_process import start  # noqa: PLC0415 - mostly it runs already

        start(self.settings)

    def sandbox(
        self,
        *,
        image: str = "",
        plan: str = "",
        vcpus: int | None = None,
        memory_mib: int | None = None,
        disk_gib: int | None = None,
        ssh_keys: Sequence[str] | None = None,
        user_data: str = "",
        forwards: Sequence[int | PortForward] = (),
        tags: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: str = "",
        lease_s: int = 60,
    ) -> Sandbox:
        """A new running instance for a `with` block, or until its `close()`; deleted after that, however we end.

        It has a lease of `lease_s` seconds (10 and more) that a thread of ours renews: when this process dies, nobody
        does. `forwards` are ports of the guest that :meth:`Sandbox.url` reaches. `env` and `cwd` are for every program
        that runs in it. `ssh_keys` are our own unless given. The rest is as for :meth:`Instances.create`. A local
        service that does not run is started.

        Raises what creating an instance raises; nothing is left of it then.
        """
        from insula.client import own_key, sandbox  # noqa: PLC0415 - the command line does without

        self.ensure_service()
        wish = {
            "image": image,
            "plan": plan,
            "vcpus": vcpus,
            "memory_mib": memory_mib,
            "disk_gib": disk_gib,
            "ssh_keys": own_key.public_keys(self.settings.home) if ssh_keys is None else ssh_keys,
            "user_data": user_data,
            "forwards": [PortForward(each) if isinstance(each, int) else each for each in forwards],
            "tags": [sandbox.TAG, *tags],
        }
        return sandbox.make(self, wish, lease_s=lease_s, surroundings=sandbox.Surroundings(env or {}, cwd))

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
