"""What proves that somebody is a user: their password's hash, their second factor, their recovery codes."""

from __future__ import annotations

from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from insula.base.errors import NotFound
from insula.control.store.engine import Database
from insula.control.store.user_schema import membership, user_account, user_link, user_session
from insula.domain.user import User


@dataclass(frozen=True)
class Account:
    """A user with their proofs. A `password_hash` or `totp_…` that is empty is not there."""

    user: User
    password_hash: str = field(repr=False)
    totp_secret: str = field(default="", repr=False)
    totp_offered: str = field(default="", repr=False)
    recovery_hashes: tuple[str, ...] = field(default=(), repr=False)


class Accounts:
    """The proofs in the table of users."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, name: str) -> Account | None:
        """That of the user of this name."""
        return await self._database.read(lambda connection: find_account(connection, name))

    async def set_password(self, user_id: str, password_hash: str) -> None:
        """It ends all their sessions, and what link they have."""

        def work(connection: Connection) -> None:
            self._database.lock(connection, "users")  # or a sign-in with the old one could outlast this
            changed = user_account.update().where(user_account.c.id == user_id).values(password_hash=password_hash)
            connection.execute(changed)
            sign_out(connection, user_id)

        await self._database.write(work)

    async def offer_totp(self, user_id: str, sealed: str) -> None:
        """Keep a second factor that is not asked for before :meth:`take_totp`."""
        change = user_account.update().where(user_account.c.id == user_id).values(totp_offered=sealed)
        await self._database.write(lambda connection: connection.execute(change).rowcount)

    async def take_totp(self, user_id: str, sealed: str, step: int, recovery_hashes: tuple[str, ...]) -> bool:
        """Ask for the offered second factor from now on. False when another one was offered meanwhile."""
        change = (
            user_account.update()
            .where(user_account.c.id == user_id, user_account.c.totp_offered == sealed)
            .values(totp_secret=sealed, totp_offered="", totp_step=step, recovery_hashes=recovery_hashes)
        )
        return await self._database.write(lambda connection: connection.execute(change).rowcount == 1)

    async def stop_totp(self, user_id: str) -> None:
        """Ask for no second factor any more. Repeatable."""
        change = user_account.update().where(user_account.c.id == user_id).values(**NO_TOTP)
        await self._database.write(lambda connection: connection.execute(change).rowcount)

    async def use_step(self, user_id: str, step: int) -> bool:
        """Note that the code of a moment was used. False when that one, or one of later, was used before."""
        change = (
            user_account.update()
            .where(user_account.c.id == user_id, user_account.c.totp_step < step)
            .values(totp_step=step)
        )
        return await self._database.write(lambda connection: connection.execute(change).rowcount == 1)

    async def use_recovery(self, user_id: str, code_hash: str) -> bool:
        """Take a recovery code away. False when it is none, or was used before."""

        def work(connection: Connection) -> bool:
            self._database.lock(connection, "users")
            row = connection.execute(user_account.select().where(user_account.c.id == user_id)).first()
            if row is None or code_hash not in row.recovery_hashes:
                return False
            left = tuple(each for each in row.recovery_hashes if each != code_hash)
            connection.execute(user_account.update().where(user_account.c.id == user_id).values(recovery_hashes=left))
            return True

        return await self._database.write(work)


NO_TOTP = {"totp_secret": "", "totp_offered": "", "totp_step": 0, "recovery_hashes": ()}


def find_account(connection: Connection, name: str) -> Account | None:
    """The account of the user of this name."""
    row = connection.execute(user_account.select().where(user_account.c.name == name)).first()
    return None if row is None else account_of(row)


def account_of(row: Row[tuple[object, ...]]) -> Account:
    """A row of the table of users."""
    return Account(user_of_row(row), row.password_hash, row.totp_secret, row.totp_offered, tuple(row.recovery_hashes))


def user_of_row(row: Row[tuple[object, ...]]) -> User:
    """What others may know of a row of the table of users."""
    return User(
        id=row.id,
        name=row.name,
        created_at=row.created_at,
        owner=row.owner,
        totp_enabled=bool(row.totp_secret),
        disabled=row.disabled,
        pending=not row.password_hash,
    )


def sign_out(connection: Connection, user_id: str) -> None:
    """End all sessions and the link of a user, inside a transaction of the caller's."""
    connection.execute(user_session.delete().where(user_session.c.user_id == user_id))
    connection.execute(user_link.delete().where(user_link.c.user_id == user_id))


def remove_homeless(connection: Connection) -> None:
    """Remove users who belong to no project any more, inside a transaction of the caller's."""
    at_home = sa.select(membership.c.user_id)
    gone = (user_account.c.id.not_in(at_home), user_account.c.owner.is_(False))
    connection.execute(user_account.delete().where(*gone))


def unknown_user(name: str, project: str = "") -> NotFound:
    """The error for a user who is not there, or whom a project does not know."""
    return NotFound(
        f"There is no user {name[:80]}",
        why=f"Nobody of this name belongs to project {project}" if project else "Nobody has this name",
        todo="Look at `insula user list`, or invite them with `insula user invite`",
        code="unknown-user",
    )
