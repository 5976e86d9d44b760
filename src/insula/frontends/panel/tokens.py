"""Tokens: what programs show instead of a person. A new one's secret is shown once."""

from __future__ import annotations

from collections.abc import Sequence

from insula.base.errors import InsulaError, NotFound
from insula.domain.access import Scope, Token
from insula.frontends.panel.nouns import Done, Empty, Noun, serve
from insula.frontends.panel.render import page
from insula.frontends.panel.view import Cell, Column, Deed, Fact, Field, Row, Thing, code, filled, link, new_once, state
from insula.frontends.panel.view import when as moment
from insula.frontends.panel.visit import ROOT, Answer, Visit, route
from insula.frontends.statuses import status_of

_HERE = f"{ROOT}/tokens"
_FIELDS = (
    Field("name", "Name", required=True, placeholder="ci"),
    Field("expires_in_days", "Days until it ends", "number", "90", hint="Empty for one that does not end."),
)


def _state(token: Token) -> str:
    return "revoked" if token.revoked else "valid"


async def _rows(visit: Visit) -> Sequence[Row]:
    found = await visit.actions.tokens.list(visit.caller)
    return [
        Row(
            each.id,
            each.name,
            (
                link(each.name, f"{_HERE}/{each.id}"),
                state(_state(each)),
                Cell(_scopes(each)),
                moment(each.last_used_at),
                moment(each.expires_at),
                moment(each.created_at),
            ),
            hint=each.id,
        )
        for each in found.items
    ]


def _scopes(token: Token) -> str:
    return "everything" if Scope.ADMIN in token.scopes else f"{len(token.scopes)} scopes"


async def _find(visit: Visit, token_id: str) -> Token:
    found = next((each for each in (await visit.actions.tokens.list(visit.caller)).items if each.id == token_id), None)
    if found is None:
        raise NotFound(
            f"There is no token {token_id[:80]!r}",
            why="It does not exist, or belongs to another project",
            todo="Look at the list of tokens",
            code="unknown-token",
        )
    return found


async def _show(visit: Visit, name: str) -> Thing:
    found = await _find(visit, name)
    hint = "It is refused from now on, wherever it is used."
    deeds = () if found.revoked else (Deed("revoke", "Revoke", "trash", (), hint, True, found.name),)
    return Thing(
        id=found.id,
        name=found.name,
        state=_state(found),
        facts=(
            Fact("May", Cell(", ".join(sorted(found.scopes)))),
            Fact("Used last", moment(found.last_used_at)),
            Fact("Ends", moment(found.expires_at)),
            Fact("Made", moment(found.created_at)),
            Fact("Id", code(found.id)),
        ),
        deeds=deeds,
    )


async def _revoke(visit: Visit, name: str) -> Done:
    found = await _find(visit, name)
    visit.form.check_typed(found.name)
    await visit.actions.tokens.revoke(visit.caller, found.id)
    return Done(f"The token {found.name} is refused from now on.", _HERE)


@route("GET", "/tokens/new")
async def ask(visit: Visit) -> Answer:
    """Which token is wanted."""
    return _form(visit, _FIELDS, frozenset())


def _form(visit: Visit, fields: tuple[Field, ...], chosen: frozenset[str], error: InsulaError | None = None) -> Answer:
    scopes = [scope.value for scope in Scope if visit.caller.identity.may(scope)]
    status = 200 if error is None else status_of(error)
    view = {"fields": fields, "scopes": scopes, "chosen": chosen, "error": error, "once": new_once()}
    return page(visit, "token_form.html", status=status, noun=NOUN, **view)


@route("POST", "/tokens/new")
async def make(visit: Visit) -> Answer:
    """Make it, and show its secrets."""
    form = visit.form
    scopes = form.all("scopes")
    try:
        days = form.number("expires_in_days", 0)
        made = await visit.actions.tokens.create(visit.caller, form.text("name"), scopes, days or None)
    except InsulaError as error:
        return _form(visit, tuple(filled(each, form, error) for each in _FIELDS), frozenset(scopes), error)
    return page(visit, "token_made.html", noun=NOUN, made=made)


NOUN = serve(
    Noun(
        path="/tokens",
        title="API tokens",
        one="token",
        icon="lock",
        columns=(
            Column("Name"),
            Column("State"),
            Column("May"),
            Column("Used last"),
            Column("Ends"),
            Column("Made"),
        ),
        rows=_rows,
        empty=Empty(
            "No tokens yet",
            "Programs show a token: the command line on another machine, scripts, Terraform.",
            "insula token create ci --scope instances:write",
        ),
        thing=_show,
        verbs={"revoke": _revoke},
        make_place=f"{_HERE}/new",
        make_label="Make token",
    )
)
