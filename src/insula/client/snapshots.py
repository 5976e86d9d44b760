"""Snapshots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from insula.client.connection import Connection, given, path_of
from insula.client.decode import build
from insula.domain.operation import Operation
from insula.domain.snapshot import Snapshot


class Snapshots:
    """`snapshot` and `instance` are names or ids. Lasting work returns its operation; see :class:`Operations.wait`.

    :meth:`Instances.revert` takes an instance back to one, :meth:`Instances.create` makes another instance from one.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self, instance: str, name: str = "", *, kind: str = "disk", tags: Sequence[str] = (), protected: bool = False
    ) -> Operation:
        """Make one of an instance's disk, with its guest's memory if `kind` is memory. The `target` is the new id.

        Without a name it gets the instance's with a number. The operation's result has `consistency` (filesystem,
        crash or stopped), `size_bytes`, `paused_ms` and `frozen_ms`.
        """
        wish = {"instance": instance, "name": name, "kind": kind, "tags": list(tags), "protected": protected}
        return self._operation("POST", path_of("snapshots"), given(wish))

    def list(self, *, state: str = "", tag: str = "", name: str = "", instance: str = "") -> list[Snapshot]:
        """All snapshots of the project, oldest first, optionally only those that fit."""
        query = {"state": state, "tag": tag, "name": name, "instance": instance}
        return [build(Snapshot, item) for item in self._connection.pages(path_of("snapshots"), query)]

    def get(self, snapshot: str) -> Snapshot:
        return build(Snapshot, self._connection.get(path_of("snapshots", snapshot)))

    def rename(self, snapshot: str, name: str) -> Snapshot:
        return self._change(snapshot, {"name": name})

    def set_tags(self, snapshot: str, tags: Sequence[str]) -> Snapshot:
        return self._change(snapshot, {"tags": list(tags)})

    def protect(self, snapshot: str, protected: bool = True) -> Snapshot:
        """A protected snapshot cannot be deleted."""
        return self._change(snapshot, {"protected": protected})

    def delete(self, snapshot: str) -> Operation:
        """Delete it; other snapshots and disks keep what they need. Raises Conflict while it is protected or used."""
        return self._operation("DELETE", path_of("snapshots", snapshot))

    def _change(self, snapshot: str, changes: Mapping[str, Any]) -> Snapshot:
        return build(Snapshot, self._connection.request("PATCH", path_of("snapshots", snapshot), body=changes))

    def _operation(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Operation:
        return build(Operation, self._connection.request(method, path, body=body))
