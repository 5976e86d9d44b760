"""Their ids, which are numbers, and the labels that things have there."""

from __future__ import annotations

import re
from collections.abc import Iterable

from insula.base.errors import InvalidInput
from insula.domain.ids import Kind
from insula.frontends.dialects.dialect import Ask
from insula.frontends.dialects.records import numbered

_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?")
_DASHED = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?")


def check_label(label: str, most: int = 64) -> str:
    """Raises InvalidInput for what is no label of theirs."""
    if not _LABEL.fullmatch(label) or len(label) > most or re.search(r"[-_.]{2}", label):
        raise _wrong(
            "Label cannot be used",
            f"It has 1 to {most} of letters, digits, _ - and ., begins and ends with a letter or a digit, "
            "and has no two of _ - . beside each other",
        )
    return label


def check_lettered(label: str, most: int) -> str:
    """The same for what is known by its label in a guest. Raises InvalidInput."""
    if not label[:1].isalpha():
        raise _wrong("Must begin with a letter", f"{label[:80]!r} does not")
    return check_label(label, most)


def check_dashed(label: str) -> str:
    """A label of a VPC or of a subnet. Raises InvalidInput."""
    if not _DASHED.fullmatch(label) or "--" in label:
        raise _wrong(
            "Must only use ASCII letters, numbers, and dashes",
            "It has 1 to 64 of them, begins and ends with a letter or a number, and has no two dashes beside each "
            "other",
        )
    return label


def _wrong(what: str, why: str) -> InvalidInput:
    return InvalidInput(what, why=why, todo="Choose another", fields={"label": what})


async def in_path(ask: Ask, name: str, kind: Kind) -> str:
    """Our id of what the path names by its number. Raises NotFound."""
    return await numbered(ask, ask.path[name], kind)


def check_ours(label: str, taken: Iterable[str], what: str) -> None:
    """Labels are unique there. Raises InvalidInput."""
    if label in taken:
        raise InvalidInput(
            "Label must be unique among your " + what,
            why=f"There is a {label} already",
            todo="Choose another",
            fields={"label": "is taken"},
        )
