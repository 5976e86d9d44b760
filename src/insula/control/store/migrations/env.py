"""What Alembic runs for an upgrade: the revisions, in the transaction that it was given."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from insula.control.store.schema import metadata

connection: sa.Connection = context.config.attributes["connection"]
if connection.dialect.name == "postgresql":
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('insula-migrations'))"))
context.configure(connection=connection, target_metadata=metadata)
context.run_migrations()
