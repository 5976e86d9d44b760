"""The host and the plans it offers."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from insula.client.connection import Connection, path_of
from insula.client.decode import build, build_all
from insula.client.spans import span_query
from insula.domain.capacity import Capacity
from insula.domain.history import History, Metric, Use
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

    def metrics(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        step_s: int | None = None,
        metrics: Collection[Metric] = (),
    ) -> History:
        """What the host used: the last hour unless told otherwise, in steps that fit unless `step_s` says which."""
        query = span_query(since, until, step_s, metrics)
        return build(History, self._connection.get(path_of("host", "metrics"), query))

    def use(self) -> list[Use]:
        """What each node uses now."""
        return build_all(Use, self._connection.get(path_of("host", "use"))["items"])

    def doctor(self) -> list[Check]:
        answer = self._connection.request("GET", path_of("host", "doctor"), timeout_s=_SLOW_S)
        return build_all(Check, answer["items"])

    def repair(self, *, remove: bool = True) -> list[Leftover]:
        """Files, processes and ports that no record owns; `remove=False` only finds them."""
        answer = self._connection.request("POST", path_of("host", "repair"), body={"remove": remove}, timeout_s=_SLOW_S)
        return build_all(Leftover, answer["items"])
