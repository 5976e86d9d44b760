"""Operations: follow, wait, cancel, retry."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from insula.base.errors import InsulaError, Unavailable, from_dict
from insula.client.connection import Connection, path_of
from insula.client.decode import build
from insula.domain.operation import Operation, OperationEvent, OperationState

_SILENCE_S = 40.0  # the service sends a comment every 15 s
_RECONNECT_S = 0.5
_RECONNECT_FOR_S = 60.0


class Operations:
    """Durable pieces of work."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, *, state: str = "", verb: str = "", target: str = "", limit: int = 100) -> list[Operation]:
        """The newest `limit` operations of the project, newest first."""
        query = {"state": state, "verb": verb, "target": target, "limit": limit}
        page = self._connection.get(path_of("operations"), query)
        return [build(Operation, item) for item in page["items"]]

    def get(self, operation_id: str) -> Operation:
        return build(Operation, self._connection.get(path_of("operations", operation_id)))

    def cancel(self, operation_id: str) -> Operation:
        """Ask it to stop and undo itself. May be repeated; raises Conflict when it is over."""
        return build(Operation, self._connection.request("POST", path_of("operations", operation_id, "cancel")))

    def retry(self, operation_id: str) -> Operation:
        """Start a failed or cancelled one again: a new operation with the same wish."""
        return build(Operation, self._connection.request("POST", path_of("operations", operation_id, "retry")))

    def follow(self, operation_id: str, *, after: int = 0) -> Iterator[OperationEvent]:
        """Every event from sequence number `after` on, live, until the operation is over.

        Survives a restart of the service: connects again and goes on where it was, for up to a minute.
        """
        lost_at: float | None = None
        while True:
            try:
                for name, data in self._events(operation_id, after):
                    lost_at = None
                    if name == "end":
                        return
                    event = build(OperationEvent, data)
                    after = event.sequence
                    yield event
            except Unavailable:
                lost_at = lost_at or time.monotonic()
                if time.monotonic() - lost_at > _RECONNECT_FOR_S:
                    raise
            time.sleep(_RECONNECT_S)

    def _events(self, operation_id: str, after: int) -> Iterator[tuple[str, dict[str, Any]]]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        with self._connection.stream(
            "GET", path_of("operations", operation_id, "events"), headers=headers, timeout_s=_SILENCE_S
        ) as response:
            try:
                yield from parse_events(response)
            except OSError as error:
                raise Unavailable("The service closed the stream of events", why=str(error)) from error

    def wait(
        self,
        operation_id: str,
        *,
        timeout_s: float | None = None,
        on_event: Callable[[OperationEvent], None] | None = None,
    ) -> Operation:
        """Follow it to its end and return it. Raises the operation's own error when it did not succeed.

        After `timeout_s` raises Unavailable (`operation-timeout`); the operation goes on.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        for event in self.follow(operation_id):
            if on_event is not None:
                on_event(event)
            if deadline is not None and time.monotonic() > deadline:
                raise Unavailable(
                    f"Operation {operation_id} is not over after {timeout_s:g} s",
                    todo=f"It goes on; follow it with `insula operation show {operation_id}`",
                    code="operation-timeout",
                )
        done = self.get(operation_id)
        if done.state is not OperationState.SUCCEEDED:
            raise _failure(done)
        return done


def _failure(done: Operation) -> InsulaError:
    if done.error:
        return from_dict(done.error)
    return InsulaError(f"Operation {done.id} ended {done.state}", code=f"operation-{done.state}")


def parse_events(lines: Iterable[bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of a `text/event-stream` as (name, data)."""
    name, data = "message", ""
    for raw in lines:
        line = raw.decode("utf-8").rstrip("\r\n")
        if not line:
            if data:
                yield name, json.loads(data)
            name, data = "message", ""
        elif line.startswith("event:"):
            name = line[6:].strip()
        elif line.startswith("data:"):
            data += line[5:].strip()
