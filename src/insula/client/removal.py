"""Deletes an instance whatever it is just doing."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from insula.base.errors import Conflict, InsulaError, NotFound, RateLimited, Unavailable
from insula.domain.operation import Verb

if TYPE_CHECKING:
    from insula.client.client import Client

_TRIED_FOR_S = 10.0
_AGAIN_S = 0.5
_PASSING = frozenset({"operation-in-progress", "wrong-state"})


def remove(client: Client, instance: str) -> None:
    """Delete it (name or id) and wait until it is gone: a creation is cancelled, other operations are waited for.

    May be repeated. Raises what is still in the way after ten seconds, or at once when that will not pass.
    """
    deadline = time.monotonic() + _TRIED_FOR_S
    while True:
        try:
            found = client.instances.get(instance)
            client.operations.wait(client.instances.delete(found.id).id)
            return
        except NotFound:
            return
        except (Conflict, RateLimited, Unavailable) as error:
            passes = not isinstance(error, Conflict) or error.code in _PASSING
            if not passes or time.monotonic() > deadline:
                raise
        with contextlib.suppress(InsulaError):
            _await_what_runs(client, instance)
        time.sleep(_AGAIN_S)


def _await_what_runs(client: Client, instance: str) -> None:
    for operation in client.operations.list(target=client.instances.get(instance).id, limit=1):
        if operation.state.is_final:
            return
        if operation.verb is Verb.CREATE_INSTANCE:
            client.operations.cancel(operation.id)
        client.operations.wait(operation.id)
