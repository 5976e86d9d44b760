"""Where backups go when nobody names a place: the project's first backup store."""

from __future__ import annotations

from insula.base.errors import Conflict
from insula.domain.backup import BackupStore, StoreState
from insula.frontends.dialects.dialect import Ask


async def backup_place(ask: Ask) -> BackupStore:
    """Raises Conflict when there is none."""
    stores = (await ask.actions.backup_stores.list(ask.caller)).items
    place = next((one for one in stores if one.state is StoreState.AVAILABLE), None)
    if place is None:
        raise Conflict(
            "Backups are not available",
            why="The project has no backup store yet",
            todo="Add one on the host: insula backup store add NAME --folder PATH",
            code="no-backup-store",
        )
    return place
