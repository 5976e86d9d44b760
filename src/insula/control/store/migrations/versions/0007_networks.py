"""Networks of projects, and ports of instances in them."""

from __future__ import annotations

import ipaddress
import json
import secrets
import time

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def upgrade() -> None:
    """Each project that has instances gets a network, and each instance a port in it."""
    op.create_table(
        "network",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("ipv4", sa.String(length=18), nullable=False),
        sa.Column("ipv6", sa.String(length=43), nullable=False),
        sa.Column("gateway", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["project"], ["project.name"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("project", "name"),
        sa.UniqueConstraint("project", "number"),
    )
    op.create_table(
        "space",
        sa.Column("project", sa.String(length=63), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["project"], ["project.name"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("project"),
    )
    op.add_column("instance", sa.Column("ports", sa.Text(), nullable=False, server_default="[]"))
    _connect_all()


def _connect_all() -> None:
    connection = op.get_bind()
    instances = sa.table("instance", *map(sa.column, ("id", "project", "mac", "ports")))
    found = connection.execute(sa.select(instances).order_by(instances.c.project, instances.c.id)).all()
    for project in sorted({row.project for row in found}):
        network_id = _new_id("net")
        ipv6 = ipaddress.IPv6Network((0xFD << 120 | secrets.randbits(40) << 80, 64))
        connection.execute(
            sa.text(
                "INSERT INTO network (id, project, name, number, ipv4, ipv6, gateway, created_at) "
                "VALUES (:id, :project, 'default', 1, '10.42.0.0/16', :ipv6, :gateway, :at)"
            ),
            {
                "id": network_id,
                "project": project,
                "ipv6": str(ipv6),
                "gateway": True,
                "at": time.time_ns() // 1000,
            },
        )
        for number, row in enumerate((row for row in found if row.project == project), 1):
            offset = 15 + number
            port = {
                "id": _new_id("prt"),
                "number": number,
                "instance_id": row.id,
                "network_id": network_id,
                "mac": row.mac,
                "ipv4": f"10.42.{offset >> 8}.{offset & 255}",
                "ipv6": str(ipv6.network_address + offset),
            }
            change = instances.update().where(instances.c.id == row.id).values(ports=json.dumps([port]))
            connection.execute(change)


def _new_id(kind: str) -> str:
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return f"{kind}_" + "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))
