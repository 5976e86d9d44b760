"""Records of ours as clients of other vendors know them: by numbers, and by names that may be any text.

What every dialect needs; how one vendor's ids look stays in its folder. Where they are UUIDs, these are the 128 bits of
our ids.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import TypeVar

from insula.base.errors import Conflict, InvalidInput, NotFound
from insula.domain.alias import Alias
from insula.domain.ids import Kind
from insula.frontends.dialects.dialect import Ask

ALL = 100_000  # more than there can be of anything
_LABEL_CHARS = 63
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_TRIES = 5
_PATIENCE_S, _LOOK_EVERY_S = 60.0, 0.1
_T = TypeVar("_T")


def project_uuid(project: str) -> str:
    """Projects have names only, which never change."""
    return str(uuid.UUID(bytes=hashlib.sha256(f"project {project}".encode()).digest()[:16], version=4))


async def numbered(ask: Ask, text: str, kind: Kind) -> str:
    """Our id of a number. Raises NotFound."""
    if text.isascii() and text.isdigit() and len(text) <= 18:
        record = await ask.actions.aliases.record_of(int(text))
        if record.startswith(f"{kind.value}_"):
            return record
    raise unknown(kind.name.lower(), text)


async def numbers(ask: Ask, records: Iterable[str]) -> Mapping[str, int]:
    """The numbers of records of ours."""
    return {record: alias.number for record, alias in (await ask.actions.aliases.of(records)).items()}


def uuid_of(record: str) -> str:
    """The UUID of one of our ids."""
    number = 0
    for digit in record.rpartition("_")[2]:
        number = number << 5 | _DIGITS.index(digit)
    return str(uuid.UUID(int=number & (1 << 128) - 1))


def of_uuid(text: str, kind: Kind) -> str:
    """Our id of a UUID. Raises NotFound for what is none."""
    try:
        number = uuid.UUID(text).int
    except ValueError as error:
        raise unknown(kind.name.lower(), text) from error
    digits = "".join(_DIGITS[(number >> shift) & 31] for shift in range(125, -1, -5))
    return f"{kind.value}_{digits}"


def unknown(what: str, text: str) -> NotFound:
    return NotFound(
        "The resource you were accessing could not be found",
        why=f"There is no {what} {text[:80]}",
        todo="List what there is",
        code="unknown-record",
    )


def fitting(text: str, taken: Collection[str], fallback: str) -> str:
    """A name of ours for one of theirs, which may be any text and be there twice."""
    label = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:_LABEL_CHARS].strip("-") or fallback
    if label not in taken:
        return label
    candidates = (f"{label[: _LABEL_CHARS - 7]}-{number}" for number in range(2, len(taken) + 3))
    return next(name for name in candidates if name not in taken)


async def under_a_name(first: str, make: Callable[[str], Awaitable[_T]]) -> tuple[str, _T]:
    """What `make` makes of a name that fits, and the name; another one when somebody took it in between."""
    ours = first
    for _ in range(_TRIES):
        try:
            return ours, await make(ours)
        except Conflict as error:
            if error.code != "name-taken":
                raise
        ours = f"{first[: _LABEL_CHARS - 7]}-{secrets.token_hex(3)}"
    return ours, await make(ours)


def naming(wanted: str, ours: str) -> dict[str, str]:
    """The facts that keep a name of theirs beside ours, until ours is changed elsewhere."""
    return {"name": "" if wanted == ours else wanted, "name_for": "" if wanted == ours else ours}


def name_of(alias: Alias, ours: str) -> str:
    """What a record is called there."""
    return alias.facts.get("name", ours) if alias.facts.get("name_for") == ours else ours


def check_text(value: str, field: str, most: int = 255) -> str:
    """Raise InvalidInput for an empty or absurd text."""
    if not value.strip() or len(value) > most or not value.isprintable():
        raise InvalidInput(
            f"{field} is not usable",
            why=f"It has 1 to {most} printable characters",
            todo=f"Send another {field}",
            fields={field: "is not usable"},
        )
    return value


async def finished(ask: Ask, operation_id: str) -> None:
    """Wait for the end of an operation, for a while."""
    for _ in range(round(_PATIENCE_S / _LOOK_EVERY_S)):
        if (await ask.actions.operations.show(ask.caller, operation_id)).state.is_final:
            return
        await asyncio.sleep(_LOOK_EVERY_S)


async def patiently(call: Callable[[], Awaitable[_T]]) -> _T:
    """Do it when what works on its target has ended: there, one thing may be asked right after the other."""
    for _ in range(round(_PATIENCE_S / _LOOK_EVERY_S)):
        try:
            return await call()
        except Conflict as error:
            if error.code != "operation-in-progress":
                raise
        await asyncio.sleep(_LOOK_EVERY_S)
    return await call()
