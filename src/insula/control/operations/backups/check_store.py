"""Check: whether all is in the store that its backups need; the result names what is lost."""

from __future__ import annotations

import msgspec

from insula.control.operations.backups.steps import DEADLINE_S, patiently
from insula.control.operations.engine.table import Ending, Facts, Failure, Step, Table, Work
from insula.domain.operation import Verb


async def check(work: Work) -> Facts:
    read_data = bool(work.params.get("read_data"))
    found = await patiently(work, lambda: work.node.check_store(work.target_store.id, read_data))
    return {"findings": {"is_whole": found.is_whole, **msgspec.to_builtins(found)}}


def succeeded(work: Work) -> Ending:
    return Ending(result=work.facts["findings"])


def unchanged(_work: Work, _failure: Failure) -> Ending:
    return Ending()


CHECK_STORE = Table(
    Verb.CHECK_STORE,
    (Step("check", check, no_undo="It only looks.", deadline_s=DEADLINE_S),),
    succeeded,
    unchanged,
)
