"""The tables of users. See :mod:`insula.control.store.schema`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, String, Table, Text, text

from insula.control.store.schema import Json, Moment, Word, metadata
from insula.domain.user import LinkKind, Role

user_account = Table(
    "user_account",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(63), nullable=False, unique=True),
    Column("created_at", Moment, nullable=False),
    Column("owner", Boolean, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("password_hash", Text, nullable=False),  # empty until the invitation is accepted
    Column("totp_secret", Text, nullable=False),  # sealed; empty without a second factor
    Column("totp_offered", Text, nullable=False),  # sealed; one that no code was given of yet
    Column("totp_step", BigInteger, nullable=False),  # of the newest code that was accepted
    Column("recovery_hashes", Json(tuple[str, ...]), nullable=False),
)

# An installation has one owner: the database itself refuses a second one.
Index(
    "user_account_one_owner",
    user_account.c.owner,
    unique=True,
    sqlite_where=text("owner"),
    postgresql_where=text("owner"),
)

membership = Table(
    "membership",
    metadata,
    Column("user_id", String(40), ForeignKey("user_account.id", ondelete="CASCADE"), primary_key=True),
    Column("project", String(63), ForeignKey("project.name"), primary_key=True, index=True),
    Column("role", Word(Role), nullable=False),
    Column("since", Moment, nullable=False),
)

user_session = Table(
    "user_session",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("user_id", String(40), ForeignKey("user_account.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("secret_hash", String(64), nullable=False, unique=True),
    Column("created_at", Moment, nullable=False),
    Column("last_seen_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("agent", Text, nullable=False),
    Column("address", String(64), nullable=False),
)

user_link = Table(
    "user_link",
    metadata,
    Column("secret_hash", String(64), primary_key=True),
    Column("kind", Word(LinkKind), nullable=False),
    # Whose it is; nobody's makes the installation's owner. A newer one takes its place.
    Column("user_id", String(40), ForeignKey("user_account.id", ondelete="CASCADE"), unique=True),
    Column("expires_at", Moment, nullable=False),
)
