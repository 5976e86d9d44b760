"""The audit log of a project."""

from __future__ import annotations

from collections.abc import Sequence

from insula.frontends.panel.nouns import Empty, Noun, serve
from insula.frontends.panel.view import Cell, Column, Row, code, when
from insula.frontends.panel.visit import Visit

_SHOWN = 1000


async def _rows(visit: Visit) -> Sequence[Row]:
    found = await visit.actions.audit.list(visit.caller, 0, _SHOWN)
    return [
        Row(
            str(each.sequence),
            str(each.sequence),
            (
                when(each.at),
                Cell(each.subject),
                Cell(each.action),
                Cell(each.target),
                Cell(each.outcome),
                code(each.request_id),
            ),
        )
        for each in found.items
    ]


NOUN = serve(
    Noun(
        path="/audit",
        title="Audit log",
        one="entry",
        icon="list",
        columns=(
            Column("When"),
            Column("Who"),
            Column("Action"),
            Column("Target"),
            Column("Outcome"),
            Column("Request"),
        ),
        rows=_rows,
        empty=Empty("Nothing yet", "Whatever somebody changes or enters leaves a line here that nobody can take out."),
        note=f"The newest {_SHOWN}; `insula audit` has no end.",
    )
)
