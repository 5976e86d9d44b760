"""The tables of networks. See :mod:`insula.control.store.schema`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, String, Table, UniqueConstraint

from insula.control.store.schema import Json, Moment, Word, metadata
from insula.domain.firewall import Action, Rule

network = Table(
    "network",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", String(63), ForeignKey("project.name", ondelete="CASCADE"), nullable=False),
    Column("name", String(63), nullable=False),
    Column("number", Integer, nullable=False),
    Column("ipv4", String(18), nullable=False),
    Column("ipv6", String(43), nullable=False),
    Column("gateway", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
    UniqueConstraint("project", "name"),
    UniqueConstraint("project", "number"),
)

# Pairs of networks of one project that reach each other; `one` is the lesser id.
network_join = Table(
    "network_join",
    metadata,
    Column("one", String(40), ForeignKey("network.id", ondelete="CASCADE"), primary_key=True),
    Column("other", String(40), ForeignKey("network.id", ondelete="CASCADE"), primary_key=True),
)

firewall = Table(
    "firewall",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", String(63), ForeignKey("project.name", ondelete="CASCADE"), nullable=False),
    Column("name", String(63), nullable=False),
    Column("rules", Json(tuple[Rule, ...]), nullable=False),
    Column("instances", Json(tuple[str, ...]), nullable=False),
    Column("tags", Json(tuple[str, ...]), nullable=False),
    Column("inbound_default", Word(Action), nullable=False),
    Column("outbound_default", Word(Action), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    UniqueConstraint("project", "name"),
)

# How often the networks of a project were told to nodes, which refuse what is older than what they know.
space = Table(
    "space",
    metadata,
    Column("project", String(63), ForeignKey("project.name", ondelete="CASCADE"), primary_key=True),
    Column("revision", BigInteger, nullable=False),
)
