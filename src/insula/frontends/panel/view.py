"""What templates show: cells of tables, facts, fields of forms, and what one may do with a thing."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from insula.base.errors import InsulaError
from insula.domain.operation import Operation
from insula.frontends.panel.forms import Form


@dataclass(frozen=True)
class Cell:
    """One value. `kind` is how it looks: text, link, state, code, tags, when. `order` is what a table is sorted by."""

    text: str
    kind: str = "text"
    href: str = ""
    at: datetime | None = None
    order: float | str | None = None

    @property
    def rank(self) -> tuple[int, float | str]:
        """Numbers before texts, so that a column of both can be sorted."""
        if self.at is not None:
            return 0, self.at.timestamp()
        key = self.text.lower() if self.order is None else self.order
        return (1, key) if isinstance(key, str) else (0, key)


def link(text: str, href: str) -> Cell:
    return Cell(text, "link", href)


def state(text: str) -> Cell:
    return Cell(text, "state")


def code(text: str) -> Cell:
    return Cell(text or "—", "code" if text else "text")


def when(moment: datetime | None, none: str = "never") -> Cell:
    return Cell(none) if moment is None else Cell("", "when", at=moment)


def tags(names: Sequence[str]) -> Cell:
    return Cell(" ".join(names), "tags")


def amount(text: str, order: float) -> Cell:
    return Cell(text, order=order)


@dataclass(frozen=True)
class Row:
    """A line of a table. `hint` is found by a search as well, though it is not shown."""

    id: str
    name: str
    cells: tuple[Cell, ...]
    hint: str = ""

    @property
    def state(self) -> str:
        return next((cell.text for cell in self.cells if cell.kind == "state"), "")


@dataclass(frozen=True)
class Column:
    title: str
    is_number: bool = False


@dataclass(frozen=True)
class Choice:
    value: str
    label: str


@dataclass(frozen=True)
class Field:
    """A field of a form. `kind` is text, number, area, select, flag, password or hidden."""

    name: str
    label: str
    kind: str = "text"
    value: str = ""
    choices: tuple[Choice, ...] = ()
    hint: str = ""
    error: str = ""
    required: bool = False
    placeholder: str = ""


def choices(names: Sequence[str], none: str | None = None) -> tuple[Choice, ...]:
    """One for each; with `none` one that chooses nothing, first."""
    first = (Choice("", none),) if none is not None else ()
    return (*first, *(Choice(name, name) for name in names))


@dataclass(frozen=True)
class Deed:
    """Something that can be done with a thing: a button, or a form with fields. `verb` ends its address."""

    verb: str
    label: str
    icon: str = ""
    fields: tuple[Field, ...] = ()
    hint: str = ""
    is_danger: bool = False
    confirm: str = ""  # what must be typed before it is done


@dataclass(frozen=True)
class Fact:
    label: str
    value: Cell


@dataclass(frozen=True)
class Part:
    """A table within a thing's page."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    empty: str


@dataclass(frozen=True)
class Thing:
    """A thing's page. `refused` are errors of what was tried last."""

    id: str
    name: str
    facts: tuple[Fact, ...]
    deeds: tuple[Deed, ...] = ()
    parts: tuple[Part, ...] = ()
    state: str = ""
    problem: str = ""
    operations: tuple[Operation, ...] = field(default=())


@dataclass(frozen=True)
class Refusal:
    """What was tried and refused: the page shows the error where it belongs, with what was typed."""

    verb: str
    error: InsulaError
    form: Form

    def fill(self, given: Field) -> Field:
        """The field with what was typed, and what is wrong with it."""
        return filled(given, self.form, self.error)


def filled(given: Field, form: Form, error: InsulaError | None) -> Field:
    """The field as it was sent."""
    value = form.raw(given.name) if given.kind != "password" else ""
    wrong = error.fields.get(given.name, "") if error is not None else ""
    return Field(
        given.name,
        given.label,
        given.kind,
        value,
        given.choices,
        hint=given.hint,
        error=wrong,
        required=given.required,
        placeholder=given.placeholder,
    )


def new_once() -> str:
    """What tells one showing of a form from another."""
    return secrets.token_urlsafe(12)
