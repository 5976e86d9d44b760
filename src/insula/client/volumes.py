"""Volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from insula.client.connection import Connection, given, path_of
from insula.client.decode import build
from insula.domain.operation import Operation
from insula.domain.volume import Volume


class Volumes:
    """`volume` and `instance` are names or ids. Lasting work returns its operation; see :class:`Operations.wait`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self,
        name: str,
        size_gib: int,
        *,
        file_system: str = "",
        attach_to: str = "",
        tags: Sequence[str] = (),
        protected: bool = False,
        disk_iops: int = 0,
        disk_mbps: int = 0,
        backup: str = "",
        damaged: bool = False,
    ) -> Operation:
        """Make a volume, with a file system (ext4 or xfs) if one is named, and attach it if an instance is named.

        Limits are operations and megabytes a second; 0 is unlimited. With a `backup` it has what that instance's disk
        held, which needs :attr:`Backup.size_gib` at least. With `damaged` that goes also when parts of the backup are
        lost: they are zeros, and the operation's result has them as `lost`, a list of bytes from and to.
        """
        wish: dict[str, Any] = {
            "name": name,
            "size_gib": size_gib,
            "file_system": file_system,
            "attach_to": attach_to,
            "tags": list(tags),
            "protected": protected,
            "disk_iops": disk_iops,
            "disk_mbps": disk_mbps,
            "backup": backup,
            "damaged": damaged,
        }
        return self._operation("POST", path_of("volumes"), given(wish))

    def list(self, *, state: str = "", tag: str = "", name: str = "", instance: str = "") -> list[Volume]:
        """All volumes of the project, oldest first, optionally only those that fit."""
        query = {"state": state, "tag": tag, "name": name, "instance": instance}
        return [build(Volume, item) for item in self._connection.pages(path_of("volumes"), query)]

    def get(self, volume: str) -> Volume:
        return build(Volume, self._connection.get(path_of("volumes", volume)))

    def set_tags(self, volume: str, tags: Sequence[str]) -> Volume:
        return self._change(volume, {"tags": list(tags)})

    def protect(self, volume: str, protected: bool = True) -> Volume:
        """A protected volume cannot be deleted."""
        return self._change(volume, {"protected": protected})

    def attach(self, volume: str, instance: str, *, move: bool = False, force: bool = False) -> Operation:
        """Attach it. Raises Conflict when another instance has it, unless it may `move`."""
        wish = {"instance": instance, "move": move, "force": force}
        return self._operation("POST", path_of("volumes", volume, "attach"), given(wish))

    def detach(self, volume: str, *, force: bool = False) -> Operation:
        """Detach it. The operation fails while the guest uses it, unless it is forced, which may lose data."""
        return self._operation("POST", path_of("volumes", volume, "detach"), given({"force": force}))

    def grow(self, volume: str, size_gib: int) -> Operation:
        """Make it larger. The operation's result has `grown`, the places of file systems that grew, and `todo`."""
        return self._operation("POST", path_of("volumes", volume, "grow"), {"size_gib": size_gib})

    def limit(self, volume: str, *, disk_iops: int | None = None, disk_mbps: int | None = None) -> Operation:
        """Change its limits, at once; None leaves one, 0 takes it off."""
        wish = {"disk_iops": disk_iops, "disk_mbps": disk_mbps}
        body = {name: value for name, value in wish.items() if value is not None}
        return self._operation("POST", path_of("volumes", volume, "limit"), body)

    def delete(self, volume: str) -> Operation:
        """Delete it with all that is on it. Raises Conflict while it is attached or protected."""
        return self._operation("DELETE", path_of("volumes", volume))

    def _change(self, volume: str, changes: Mapping[str, Any]) -> Volume:
        return build(Volume, self._connection.request("PATCH", path_of("volumes", volume), body=changes))

    def _operation(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Operation:
        return build(Operation, self._connection.request(method, path, body=body))
