"""Operations: what was asked for, how far it is, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from insula.base.errors import from_dict
from insula.control.actions import OperationFilter
from insula.domain.access import Scope
from insula.domain.operation import Operation
from insula.frontends.panel.nouns import Do, Done, Empty, Noun, accepted, serve
from insula.frontends.panel.render import words
from insula.frontends.panel.view import Cell, Column, Deed, Fact, Row, Thing, code, link, state, when
from insula.frontends.panel.visit import ROOT, Visit

_SHOWN = 1000
_OF_THING = 8
_PAGES = {"instance": "instances", "volume": "volumes", "snapshot": "snapshots", "backup": "backups", "image": "images"}


async def operations_of(visit: Visit, target: str) -> tuple[Operation, ...]:
    """The last ones of a thing; none for callers who may not see them."""
    if not visit.caller.identity.may(Scope.OPERATIONS_READ):
        return ()
    found = await visit.actions.operations.list(visit.caller, limit=_OF_THING, where=OperationFilter(target=target))
    return found.items


async def _rows(visit: Visit) -> Sequence[Row]:
    found = await visit.actions.operations.list(visit.caller, limit=_SHOWN)
    return [_row(each) for each in found.items]


def _row(each: Operation) -> Row:
    took_ms = sum(step.took_ms for step in each.steps)
    cells = (
        link(words(each.verb.value), f"{ROOT}/operations/{each.id}"),
        state(each.state.value),
        Cell(each.target_name),
        Cell(f"{took_ms / 1000:.1f} s" if took_ms else "—", order=took_ms),
        Cell(each.requested_by),
        when(each.created_at),
    )
    return Row(each.id, each.id, cells, hint=f"{each.id} {each.target}")


async def _show(visit: Visit, name: str) -> Thing:
    found = await visit.actions.operations.show(visit.caller, name)
    error = from_dict(found.error) if found.error is not None else None
    deeds = []
    if not found.state.is_final and not found.cancel_requested:
        deeds.append(Deed("cancel", "Cancel", "x", hint="It stops and undoes what it has done."))
    if found.state.is_final and found.state != "succeeded":
        deeds.append(Deed("retry", "Try again", "refresh", hint="The same wish, as a new operation."))
    return Thing(
        id=found.id,
        name=f"{words(found.verb.value)}: {found.target_name}",
        state=found.state.value,
        problem=str(error) if error is not None else "",
        facts=(
            Fact("Target", _target(found)),
            Fact("Asked for by", Cell(found.requested_by)),
            Fact("Asked for", when(found.created_at)),
            Fact("Changed last", when(found.updated_at)),
            Fact("Id", code(found.id)),
        ),
        deeds=tuple(deeds) if visit.caller.identity.may(Scope.OPERATIONS_WRITE) else (),
        operations=(found,),
    )


def _target(found: Operation) -> Cell:
    place = _PAGES.get(found.verb.noun)
    is_gone = found.verb.value.startswith("delete_")
    if place is None or is_gone:
        return Cell(found.target_name)
    return link(found.target_name, f"{ROOT}/{place}/{found.target}")


async def _cancel(visit: Visit, name: str) -> Done:
    await visit.actions.operations.cancel(visit.caller, name)
    return Done("It was asked to undo itself.")


async def _retry(visit: Visit, name: str) -> Done:
    return accepted(await visit.actions.operations.retry(visit.caller, name), "It is tried again.")


_VERBS: Mapping[str, Do] = {"cancel": _cancel, "retry": _retry}

NOUN = serve(
    Noun(
        path="/operations",
        title="Operations",
        one="operation",
        icon="activity",
        columns=(
            Column("What"),
            Column("State"),
            Column("Target"),
            Column("Took", is_number=True),
            Column("Asked for by"),
            Column("When"),
        ),
        rows=_rows,
        empty=Empty(
            "Nothing has been asked for yet",
            "Whatever takes a while is an operation with steps: you see how far it is, and what is undone.",
        ),
        thing=_show,
        template="operation.html",
        verbs=_VERBS,
        note=f"The newest {_SHOWN}.",
    )
)
