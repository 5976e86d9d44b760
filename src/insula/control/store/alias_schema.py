"""The table of aliases. See :mod:`insula.control.store.schema`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, String, Table

from insula.control.store.schema import Json, metadata

# Nothing is ever deleted: a number that once meant a record must not mean another one.
alias = Table(
    "alias",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("record", String(100), nullable=False, unique=True),
    Column("facts", Json(dict[str, str]), nullable=False),
)
