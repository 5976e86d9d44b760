"""The host and the plans it offers."""

from __future__ import annotations

from insula.client.connection import Connection, path_of
from insula.client.decode import build, build_all
from insula.domain.capacity import Capacity
from insula.domain.plan import Plan
from insula.protocol.node import Check, Leftover, NodeReport

_SLOW_S = 120.0  # the doctor boots a kernel when nothing is cached yet


class Plans:
    """What instances may be."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> list[Plan]:
        return [build(Plan, item) for item in self._connection.pages(path_of("plans"))]


class Host:
    """What the host is, has and lacks."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def capacity(self) -> list[Capacity]:
        """One entry per node."""
        return build_all(Capacity, self._connection.get(path_of("host", "capacity"))["items"])

    def nodes(self) -> list[NodeReport]:
        return build_all(NodeReport, self._connection.get(path_of("host", "nodes"))["items"])

    def doctor(self) -> list[Check]:
        answer = self._connection.request("GET", path_of("host", "doctor"), timeout_s=_SLOW_S)
        return build_all(Check, answer["items"])

    def repair(self, *, remove: bool = True) -> list[Leftover]:
        """Files, processes and ports that no record owns; `remove=False` only finds them."""
        answer = self._connection.request("POST", path_of("host", "repair"), body={"remove": remove}, timeout_s=_SLOW_S)
        return build_all(Leftover, answer["items"])
