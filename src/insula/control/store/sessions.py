"""Where users are signed in. Of a session's secret there is a hash only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from insula.base.errors import NotFound
from insula.control.store.accounts import user_of_row
from insula.control.store.engine import Database
from insula.control.store.user_schema import user_account, user_link, user_session
from insula.control.store.users import memberships_of
from insula.domain.user import Membership, Session, User

_COLUMNS = (
    user_session.c.id,
    user_account.c.name.label("user"),
    *(user_session.c.created_at, user_session.c.last_seen_at, user_session.c.expires_at),
    *(user_session.c.agent, user_session.c.address),
)
_FROM = user_session.join(user_account, user_session.c.user_id == user_account.c.id)


@dataclass(frozen=True)
class SignedInUser:
    """A session with whose it is, and what they are to projects, the oldest role first."""

    session: Session
    user: User
    memberships: tuple[Membership, ...]


class Sessions:
    """The table of sessions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, session: Session, secret_hash: str, password_hash: str) -> bool:
        """Sign somebody in. False when their password is another one by now, or they are disabled.

        Sessions and links that ended before this one began are removed.
        """

        def work(connection: Connection) -> bool:
            self._database.lock(connection, "users")
            is_same = (user_account.c.name == session.user, user_account.c.password_hash == password_hash)
            row = connection.execute(user_account.select().where(*is_same, user_account.c.disabled.is_(False))).first()
            if row is None:
                return False
            for table in (user_session, user_link):
                connection.execute(table.delete().where(table.c.expires_at <= session.created_at))
            values = {name: value for name, value in vars(session).items() if name != "user"}
            connection.execute(user_session.insert().values(user_id=row.id, secret_hash=secret_hash, **values))
            return True

        return await self._database.write(work)

    async def find(self, secret_hash: str) -> SignedInUser | None:
        """The session with this hash, one that has ended too: the caller judges."""

        def work(connection: Connection) -> SignedInUser | None:
            query = sa.select(*_COLUMNS).select_from(_FROM).where(user_session.c.secret_hash == secret_hash)
            row = connection.execute(query).first()
            if row is None:
                return None
            account = connection.execute(user_account.select().where(user_account.c.name == row.user)).one()
            held = memberships_of(connection, account.id)
            return SignedInUser(_session(row), user_of_row(account), tuple(held))

        return await self._database.read(work)

    async def touch(self, session_id: str, at: datetime) -> None:
        """Note its last use."""
        change = user_session.update().where(user_session.c.id == session_id).values(last_seen_at=at)
        await self._database.write(lambda connection: connection.execute(change).rowcount, progress=True)

    async def list(self, user: str = "") -> Sequence[Session]:
        """A user's sessions, or everybody's, the one used last first."""
        query = sa.select(*_COLUMNS).select_from(_FROM).order_by(user_session.c.last_seen_at.desc(), user_session.c.id)
        if user:
            query = query.where(user_account.c.name == user)
        return await self._database.read(lambda connection: [_session(row) for row in connection.execute(query)])

    async def end(self, session_id: str, user: str = "") -> None:
        """One of a user, or of anybody. Raises :class:`NotFound` (unknown-session)."""
        is_it = [user_session.c.id == session_id]
        if user:
            owned = sa.select(user_account.c.id).where(user_account.c.name == user)
            is_it.append(user_session.c.user_id.in_(owned))
        change = user_session.delete().where(*is_it)
        if not await self._database.write(lambda connection: connection.execute(change).rowcount):
            raise NotFound(
                f"There is no session {session_id[:80]}",
                why="It has ended, or it is somebody else's",
                todo="Look at `insula user sessions`",
                code="unknown-session",
            )

    async def end_by_secret(self, secret_hash: str) -> None:
        """Repeatable."""
        change = user_session.delete().where(user_session.c.secret_hash == secret_hash)
        await self._database.write(lambda connection: connection.execute(change).rowcount)

    async def end_all(self, user_id: str) -> None:
        """All of a user. Repeatable."""
        change = user_session.delete().where(user_session.c.user_id == user_id)
        await self._database.write(lambda connection: connection.execute(change).rowcount)


def _session(row: Row[tuple[object, ...]]) -> Session:
    return Session(**row._mapping)
