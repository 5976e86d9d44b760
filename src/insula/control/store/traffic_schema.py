"""The tables of traffic. See :mod:`insula.control.store.schema`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, String, Table

from insula.control.store.schema import Moment, metadata

COUNTS = ("sent_bytes", "sent_packets", "received_bytes", "received_packets")

# Kept when the instance is gone: somebody may still have to pay for it.
traffic = Table(
    "traffic",
    metadata,
    Column("instance_id", String(40), primary_key=True),
    Column("hour", Moment, primary_key=True),
    Column("project", String(63), nullable=False),
    *(Column(name, BigInteger, nullable=False) for name in COUNTS),
    Index("traffic_of_hour", "hour"),
)

# What the counters of cards showed last.
traffic_seen = Table(
    "traffic_seen",
    metadata,
    Column("port_id", String(40), primary_key=True),
    Column("instance_id", String(40), ForeignKey("instance.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("epoch", String(100), nullable=False),
    *(Column(name, BigInteger, nullable=False) for name in COUNTS),
)
