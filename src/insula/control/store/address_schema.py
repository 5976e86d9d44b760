"""The tables of reserved addresses. See :mod:`insula.control.store.schema`."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, String, Table

from insula.control.store.schema import Moment, metadata

address_pool = Table(
    "address_pool",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(63), nullable=False, unique=True),
    Column("node", String(64), nullable=False),
    Column("first", String(45), nullable=False),
    Column("last", String(45), nullable=False),
    Column("created_at", Moment, nullable=False),
)

address = Table(
    "address",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", String(63), ForeignKey("project.name", ondelete="CASCADE"), nullable=False, index=True),
    Column("address", String(45), nullable=False, unique=True),
    Column("pool_id", String(40), ForeignKey("address_pool.id"), nullable=False),
    Column("instance_id", String(40), ForeignKey("instance.id", ondelete="SET NULL")),
    Column("created_at", Moment, nullable=False),
)

# What led where and when: kept when the address or the instance is gone, so that complaints find whom they are about.
assignment = Table(
    "assignment",
    metadata,
    Column("sequence", Integer, primary_key=True),
    Column("project", String(63), nullable=False),
    Column("address", String(45), nullable=False),
    Column("instance_id", String(40), nullable=False, index=True),
    Column("instance_name", String(63), nullable=False),
    Column("began_at", Moment, nullable=False),
    Column("ended_at", Moment),
    Index("assignment_of_address", "address", "sequence"),
)
