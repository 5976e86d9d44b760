"""Instances."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from insula.base.errors import GuestFailure
from insula.client.connection import Connection, given, path_of
from insula.client.decode import build, build_all
from insula.client.spans import span_query
from insula.domain.history import History, Metric, Use
from insula.domain.instance import Instance, PortForward, Protocol
from insula.domain.operation import Operation
from insula.domain.traffic import InstanceTraffic


class Instances:
    """`instance` is a name or an id everywhere. Lasting work returns its operation; see :class:`Operations.wait`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self,
        name: str,
        *,
        image: str = "",
        plan: str = "",
        vcpus: int | None = None,
        memory_mib: int | None = None,
        disk_gib: int | None = None,
        ssh_keys: Sequence[str] = (),
        user_data: str = "",
        hostname: str = "",
        forwards: Sequence[PortForward] = (),
        tags: Sequence[str] = (),
        protected: bool = False,
        lease_s: int | None = None,
        cold: bool = False,
        snapshot: str = "",
        backup: str = "",
        network: str = "",
        options: Mapping[str, str] | None = None,
    ) -> Operation:
        """Create an instance and start it. The operation's `target` is the new id.

        `ssh_keys` are public keys or names of stored keys. Empty `image` and `plan` mean the service's defaults. With
        `lease_s` it is deleted so many seconds later, unless :meth:`lease` renews that. `cold` boots it also where it
        could go on from a template. With a `snapshot` it goes on from there as somebody else, unless it is `cold` from
        the memory if there is any. With a `backup` it is restored from that. It is in the project's first network
        unless `network` is another. `options` are rarer ones: `firmware` (auto, bios, uefi), `machine_type` (auto, q35,
        microvm), `platform` (auto, nocloud, digitalocean, akamai, ec2), `restart_policy` (always, never).
        """
        wish: dict[str, Any] = {
            "name": name,
            "image": image,
            "plan": plan,
            "vcpus": vcpus,
            "memory_mib": memory_mib,
            "disk_gib": disk_gib,
            "ssh_keys": list(ssh_keys),
            "user_data": user_data,
            "hostname": hostname,
            "forwards": [asdict(forward) for forward in forwards],
            "tags": list(tags),
            "protected": protected,
            "lease_s": lease_s,
            "cold": cold,
            "snapshot": snapshot,
            "backup": backup,
            "network": network,
            **(options or {}),
        }
        return self._operation("POST", path_of("instances"), given(wish))

    def list(self, *, state: str = "", tag: str = "", image: str = "", name: str = "") -> list[Instance]:
        """All instances of the project, oldest first, optionally only those that fit."""
        query = {"state": state, "tag": tag, "image": image, "name": name}
        return [build(Instance, item) for item in self._connection.pages(path_of("instances"), query)]

    def get(self, instance: str) -> Instance:
        return build(Instance, self._connection.get(path_of("instances", instance)))

    def start(self, instance: str, *, cold: bool = False) -> Operation:
        """Boot it, or let a hibernated one go on; `cold` gives its memory up and boots from the disk."""
        return self._operation("POST", path_of("instances", instance, "start"), {"cold": True} if cold else None)

    def pause(self, instance: str) -> Operation:
        """Let it stand still; its memory stays in the host's."""
        return self._operation("POST", path_of("instances", instance, "pause"))

    def resume(self, instance: str) -> Operation:
        """Let a paused one go on."""
        return self._operation("POST", path_of("instances", instance, "resume"))

    def hibernate(self, instance: str) -> Operation:
        """Save its memory to disk and free the host's; a start goes on from there."""
        return self._operation("POST", path_of("instances", instance, "hibernate"))

    def fork(self, instance: str, *, count: int = 1, names: Sequence[str] = (), identity: str = "renew") -> Operation:
        """Make children that go on from its present state, while it goes on itself.

        They are called `names`, else the instance's name with numbers. With the identity `keep` they are the same guest
        once more, and have no network. The operation's result has `children` (id and name), `failed` and `paused_ms`.
        """
        wish = {"count": count, "names": list(names), "identity": identity}
        return self._operation("POST", path_of("instances", instance, "fork"), given(wish))

    def stop(self, instance: str, *, graceful_s: float | None = None) -> Operation:
        """Stop it: agent or ACPI first, hard after `graceful_s` (0: hard at once). The operation's result says how."""
        return self._operation("POST", path_of("instances", instance, "stop"), given({"graceful_s": graceful_s}))

    def reboot(self, instance: str, *, graceful_s: float | None = None) -> Operation:
        return self._operation("POST", path_of("instances", instance, "reboot"), given({"graceful_s": graceful_s}))

    def delete(self, instance: str) -> Operation:
        """Delete it with its disk. Raises Conflict when it is protected."""
        return self._operation("DELETE", path_of("instances", instance))

    def resize(
        self,
        instance: str,
        *,
        plan: str = "",
        vcpus: int | None = None,
        memory_mib: int | None = None,
        disk_gib: int | None = None,
        disk_iops: int | None = None,
        disk_mbps: int | None = None,
        network_mbps: int | None = None,
        network_pps: int | None = None,
    ) -> Operation:
        """Change its size. A disk only grows; that, and limits (0: none), need no reboot of a running one.

        Those of its network are megabits and packets a second, in each direction.

        The operation's result says whether it `rebooted`, which file systems have `grown`, and what is left `todo`.
        """
        wish = {
            "plan": plan,
            "vcpus": vcpus,
            "memory_mib": memory_mib,
            "disk_gib": disk_gib,
            "disk_iops": disk_iops,
            "disk_mbps": disk_mbps,
            "network_mbps": network_mbps,
            "network_pps": network_pps,
        }
        return self._operation("POST", path_of("instances", instance, "resize"), given(wish))

    def rebuild(
        self, instance: str, *, image: str = "", ssh_keys: Sequence[str] | None = None, user_data: str | None = None
    ) -> Operation:
        """Give it a fresh disk of `image` (or its own again); name, address, size stay. What it held is lost."""
        wish = {
            "image": image or None,
            "ssh_keys": None if ssh_keys is None else list(ssh_keys),
            "user_data": user_data,
        }
        return self._operation(
            "POST",
            path_of("instances", instance, "rebuild"),
            {name: value for name, value in wish.items() if value is not None},
        )

    def revert(self, instance: str, snapshot: str, *, disk_only: bool = False) -> Operation:
        """Take it back to a snapshot of it; what it is now is lost. With memory its guest goes on from that instant.

        With `disk_only` it boots all the same. Raises Conflict when it is protected or has volumes.
        """
        wish = {"snapshot": snapshot, "disk_only": disk_only}
        return self._operation("POST", path_of("instances", instance, "revert"), given(wish))

    def rename(self, instance: str, name: str) -> Instance:
        return self._change(instance, {"name": name})

    def set_tags(self, instance: str, tags: Sequence[str]) -> Instance:
        return self._change(instance, {"tags": list(tags)})

    def protect(self, instance: str, protected: bool = True) -> Instance:
        """A protected instance cannot be deleted or rebuilt."""
        return self._change(instance, {"protected": protected})

    def lease(self, instance: str, lease_s: int | None) -> Instance:
        """Let it be deleted `lease_s` seconds from now (10 s to 30 days), unless renewed by then; None takes that off.

        Raises Conflict when it is protected or being deleted already.
        """
        answer = self._connection.request("POST", path_of("instances", instance, "lease"), body={"lease_s": lease_s})
        return build(Instance, answer)

    def wait(self, instance: str, state: str = "running", *, timeout_s: float = 300.0) -> Instance:
        """Wait until it is in `state`. Raises GuestFailure when it fails or does not get there in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = self.get(instance)
            if found.state == state:
                return found
            late = time.monotonic() >= deadline
            if late or found.state == "failed":
                raise GuestFailure(
                    f"Instance {found.name} is {found.state}, not {state}",
                    why=found.problem or (f"Waited {timeout_s:g} s" if late else ""),
                    todo=f"Look at its console: insula console {found.name} --log",
                    code="wait-timeout" if late else "instance-failed",
                )
            time.sleep(0.3)

    def _change(self, instance: str, changes: Mapping[str, Any]) -> Instance:
        return build(Instance, self._connection.request("PATCH", path_of("instances", instance), body=changes))

    def attach_network(self, instance: str, network: str) -> Instance:
        """Give it a further network card, in another network. May be repeated."""
        path = path_of("instances", instance, "networks")
        return build(Instance, self._connection.request("POST", path, body={"network": network}))

    def detach_network(self, instance: str, network: str) -> Instance:
        """Take the card away again. Raises Conflict for its first one."""
        return build(Instance, self._connection.request("DELETE", path_of("instances", instance, "networks", network)))

    def traffic(self, instance: str, *, hours: int = 24) -> InstanceTraffic:
        """What it sent and received at its cards in the present hour and those before it."""
        return build(
            InstanceTraffic, self._connection.get(f"{path_of('instances', instance, 'traffic')}?hours={hours}")
        )

    def metrics(
        self,
        instance: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        step_s: int | None = None,
        metrics: Collection[Metric] = (),
    ) -> History:
        """What it used: the last hour unless told otherwise, in steps that fit unless `step_s` says which."""
        query = span_query(since, until, step_s, metrics)
        return build(History, self._connection.get(path_of("instances", instance, "metrics"), query))

    def use(self) -> Sequence[Use]:
        """What all instances use now; those without a machine have no values."""
        return build_all(Use, self._connection.get(path_of("use"))["items"])

    def add_forward(self, instance: str, forward: PortForward) -> Instance:
        """Open a port of the host that leads to it. Raises Conflict when the port is taken."""
        path = path_of("instances", instance, "forwards")
        return build(Instance, self._connection.request("POST", path, body=asdict(forward)))

    def remove_forward(self, instance: str, host_port: int, *, protocol: Protocol = Protocol.TCP) -> Instance:
        """Close it; connections that came through it go on."""
        path = f"{path_of('instances', instance, 'forwards', str(host_port))}?protocol={protocol}"
        return build(Instance, self._connection.request("DELETE", path))

    def _operation(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Operation:
        return build(Operation, self._connection.request(method, path, body=body))
