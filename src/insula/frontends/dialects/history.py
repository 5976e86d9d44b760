"""What was done: our operations, of which other vendors' actions and events are made."""

from __future__ import annotations

from collections.abc import Sequence

from insula.domain.operation import Operation, Verb
from insula.frontends.dialects.dialect import Ask

_LATEST = 2000  # of a project's operations are looked through


def subject_of(operation: Operation) -> str:
    """What it is about: a snapshot's or backup's is the instance that it is made of."""
    if operation.verb in {Verb.CREATE_SNAPSHOT, Verb.CREATE_BACKUP}:
        return str(operation.params.get("instance_id") or operation.target)
    return operation.target


async def latest(ask: Ask, subject: str = "") -> Sequence[Operation]:
    """The project's operations, newest first; only those about one thing if it is named."""
    found = (await ask.actions.operations.list(ask.caller, limit=_LATEST)).items
    return [one for one in found if not subject or subject_of(one) == subject]


async def last(ask: Ask, subject: str, verb: Verb) -> Operation:
    """The newest one of what was just done."""
    return next(one for one in await latest(ask, subject) if one.verb is verb)
