"""Pages that every kind of thing has: its list with search, filter, order and bulk actions; making one; and its own.

A noun says what its rows, facts and deeds are, and what is called for each verb; the pages are the same for all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from insula.base.errors import InsulaError, InvalidInput, NotFound
from insula.domain.operation import Operation
from insula.frontends.panel.render import page
from insula.frontends.panel.table import bulk_forms, table_of
from insula.frontends.panel.view import Column, Deed, Field, Refusal, Row, Thing, filled, new_once
from insula.frontends.panel.visit import ROOT, Answer, Visit, go_to, route
from insula.frontends.statuses import status_of

Do = Callable[[Visit, str], Awaitable["Done"]]


@dataclass(frozen=True)
class Done:
    """What is told when something was done, and where one goes then; by default back to the page."""

    text: str
    place: str = ""


@dataclass(frozen=True)
class Empty:
    """What a list without a line says: what such a thing is good for, and how to get the first one."""

    title: str
    text: str
    command: str = ""


@dataclass(frozen=True)
class Noun:
    """`path` is the list's, and `one` what a single one is called. `bulk` are verbs that lists offer."""

    path: str
    title: str
    one: str
    icon: str
    columns: tuple[Column, ...]
    rows: Callable[[Visit], Awaitable[Sequence[Row]]]
    empty: Empty
    thing: Callable[[Visit, str], Awaitable[Thing]] | None = None
    template: str = "thing.html"  # of its page
    verbs: Mapping[str, Do] = field(default_factory=dict)
    bulk: tuple[Deed, ...] = ()
    fields: Callable[[Visit], Awaitable[tuple[Field, ...]]] | None = None
    make: Callable[[Visit], Awaitable[Done]] | None = None
    make_place: str = ""  # where one is made, if not by a form of `fields`
    make_label: str = ""
    note: str = ""

    @property
    def address(self) -> str:
        return f"{ROOT}{self.path}"

    @property
    def new_address(self) -> str:
        """Where one is made; empty where that is not possible."""
        return self.make_place or (f"{self.address}/new" if self.fields is not None else "")


def serve(noun: Noun) -> Noun:
    """Register the pages of a noun."""
    route("GET", noun.path)(lambda visit: _list(noun, visit))
    if noun.bulk:
        route("POST", f"{noun.path}/bulk")(lambda visit: _bulk(noun, visit))
    if noun.fields is not None:
        route("GET", f"{noun.path}/new")(lambda visit: _form(noun, visit))
        route("POST", f"{noun.path}/new")(lambda visit: _make(noun, visit))
    if noun.thing is not None:
        route("GET", f"{noun.path}/{{name}}")(lambda visit: _show(noun, visit))
    if noun.verbs:
        route("POST", f"{noun.path}/{{name}}/{{verb}}")(lambda visit: _do(noun, visit))
    return noun


def accepted(operation: Operation, text: str, place: str = "") -> Done:
    """Durable work has begun."""
    return Done(text, place or f"{ROOT}/operations/{operation.id}")


async def _list(noun: Noun, visit: Visit) -> Answer:
    table = table_of(await noun.rows(visit), noun.columns, visit.query)
    return page(visit, "list.html", noun=noun, table=table, forms=bulk_forms(noun.bulk), once=new_once())


async def _bulk(noun: Noun, visit: Visit) -> Answer:
    deed = _deed_of(noun, visit.form.text("verb"))
    names = visit.form.all("names")
    if not names:
        return go_to(noun.address, "Nothing was chosen: tick the boxes of what it is for.")
    if deed.is_danger and visit.form.text("confirm") != deed.verb:
        wrong = "" if not visit.form.text("confirm") else f"Type {deed.verb} to go on."
        return page(visit, "confirm.html", noun=noun, deed=deed, names=names, wrong=wrong, once=new_once())
    done, refused = 0, []
    for name in names:
        try:
            await noun.verbs[deed.verb](visit, name)
            done += 1
        except InsulaError as error:
            refused.append(f"{name}: {error}")
    told = [f"{deed.label}: {done} accepted."] if done else []
    if refused:
        told.append(f"{len(refused)} refused — {' '.join(refused)}")
    return go_to(noun.address, " ".join(told))


def _deed_of(noun: Noun, verb: str) -> Deed:
    found = next((deed for deed in noun.bulk if deed.verb == verb), None)
    if found is None:
        raise InvalidInput(
            f"{verb[:40]!r} cannot be done with several {noun.title.lower()}",
            why=f"Possible are {', '.join(deed.verb for deed in noun.bulk)}",
            todo="Choose one of them",
        )
    return found


async def _form(noun: Noun, visit: Visit, error: InsulaError | None = None) -> Answer:
    if noun.fields is None:
        raise _nothing_there(visit)
    fields = await noun.fields(visit)
    if error is not None:
        fields = tuple(filled(each, visit.form, error) for each in fields)
    elif visit.query:
        fields = tuple(replace(each, value=visit.query.get(each.name, each.value)) for each in fields)
    status = 200 if error is None else status_of(error)
    return page(visit, "form.html", status=status, noun=noun, fields=fields, error=error, once=new_once())


async def _make(noun: Noun, visit: Visit) -> Answer:
    if noun.make is None:
        raise _nothing_there(visit)
    try:
        done = await noun.make(visit)
    except InsulaError as error:
        return await _form(noun, visit, error)
    return go_to(done.place or noun.address, done.text)


async def _show(noun: Noun, visit: Visit, refused: Refusal | None = None) -> Answer:
    if noun.thing is None:
        raise _nothing_there(visit)
    thing = await noun.thing(visit, visit.path["name"])
    status = 200 if refused is None else status_of(refused.error)
    if refused is not None:
        thing = replace(thing, deeds=tuple(_refilled(deed, refused) for deed in thing.deeds))
    return page(visit, noun.template, status=status, noun=noun, thing=thing, refused=refused, once=new_once())


def _refilled(deed: Deed, refused: Refusal) -> Deed:
    if deed.verb != refused.verb:
        return deed
    return replace(deed, fields=tuple(refused.fill(each) for each in deed.fields))


async def _do(noun: Noun, visit: Visit) -> Answer:
    name, verb = visit.path["name"], visit.path["verb"]
    if verb not in noun.verbs:
        raise _nothing_there(visit)
    try:
        done = await noun.verbs[verb](visit, name)
    except NotFound:
        raise
    except InsulaError as error:
        return await _show(noun, visit, Refusal(verb, error, visit.form))
    return go_to(done.place or f"{noun.address}/{quote(name, safe='')}", done.text)


def _nothing_there(visit: Visit) -> NotFound:
    return NotFound(
        f"There is nothing at {visit.request.scope['path'][:120]}",
        why="No page has this address",
        todo="Use the menu",
        code="unknown-path",
    )
