"""Users and their roles in projects, and the one-time links by which they set passwords."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from insula.base.errors import Conflict, NotFound
from insula.control.store.accounts import (
    NO_TOTP,
    find_account,
    remove_homeless,
    sign_out,
    unknown_user,
    user_of_row,
)
from insula.control.store.engine import Database
from insula.control.store.projects import find_project
from insula.control.store.user_schema import membership, user_account, user_link
from insula.domain.access import DEFAULT_PROJECT
from insula.domain.user import LinkKind, Member, Membership, Role, User, UserWithRoles


@dataclass(frozen=True)
class Link:
    """A one-time link: what is kept of its secret, and until when it is good."""

    kind: LinkKind
    secret_hash: str = field(repr=False)
    expires_at: datetime


class Users:
    """The tables of users, memberships and links."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def members(self, project: str) -> Sequence[Member]:
        """The project's users, by name."""
        query = (
            sa.select(user_account, membership.c.role)
            .join(membership, membership.c.user_id == user_account.c.id)
            .where(membership.c.project == project)
            .order_by(user_account.c.name)
        )
        return await self._database.read(lambda c: [Member(user_of_row(row), row.role) for row in c.execute(query)])

    async def everybody(self) -> Sequence[UserWithRoles]:
        """All users by name."""

        def work(connection: Connection) -> list[UserWithRoles]:
            held: dict[str, list[Membership]] = {}
            for row in connection.execute(membership.select().order_by("since", "project")):
                held.setdefault(row.user_id, []).append(Membership(row.project, row.role, row.since))
            rows = connection.execute(user_account.select().order_by("name"))
            return [UserWithRoles(user_of_row(row), tuple(held.get(row.id, ()))) for row in rows]

        return await self._database.read(work)

    async def memberships(self, user_id: str) -> Sequence[Membership]:
        """A user's roles, the oldest first."""
        return await self._database.read(lambda connection: memberships_of(connection, user_id))

    async def home(self, name: str) -> str:
        """The project that a user has belonged to for longest, empty for nobody's name."""
        query = (
            sa.select(membership.c.project)
            .join(user_account, user_account.c.id == membership.c.user_id)
            .where(user_account.c.name == name)
            .order_by(membership.c.since, membership.c.project)
            .limit(1)
        )
        return await self._database.read(lambda connection: str(connection.execute(query).scalar() or ""))

    async def add_first_link(self, link: Link) -> None:
        """In the place of an older one. Raises :class:`Conflict` when there is an owner."""

        def work(connection: Connection) -> None:
            self._database.lock(connection, "users")
            if _has_owner(connection):
                raise _has_owner_already()
            connection.execute(user_link.delete().where(user_link.c.kind == LinkKind.FIRST))
            _add_link(connection, link, None)

        await self._database.write(work)

    async def is_first_link(self, secret_hash: str, now: datetime) -> bool:
        """Whether this is the link that makes the owner, and still good."""

        def work(connection: Connection) -> bool:
            link = _link(connection, secret_hash, now)
            return link is not None and link.kind is LinkKind.FIRST

        return await self._database.read(work)

    async def make_owner(self, secret_hash: str, owner: User, password_hash: str) -> User:
        """Use the first link up. Raises :class:`NotFound` (unknown-link) and :class:`Conflict`."""

        def work(connection: Connection) -> User:
            self._database.lock(connection, "users")
            if _has_owner(connection):
                raise _has_owner_already()
            link = _link(connection, secret_hash, owner.created_at)
            if link is None or link.kind is not LinkKind.FIRST:
                raise unknown_link()
            if find_account(connection, owner.name) is not None:
                raise _taken(owner.name)
            _insert(connection, owner, password_hash)
            connection.execute(user_link.delete().where(user_link.c.kind == LinkKind.FIRST))
            first = Membership(DEFAULT_PROJECT, Role.OWNER, owner.created_at)
            connection.execute(membership.insert().values(user_id=owner.id, **vars(first)))
            return owner

        return await self._database.write(work)

    async def invite(self, invited: User, role: Membership, link: Link) -> User:
        """A new user, or one whom the same project invited before and who has not come yet.

        Raises :class:`NotFound` without the project, and :class:`Conflict` (user-exists).
        """

        def work(connection: Connection) -> User:
            self._database.lock(connection, "accept")  # against the project's deletion
            self._database.lock(connection, "users")
            find_project(connection, role.project)
            known = find_account(connection, invited.name)
            if known is None:
                _insert(connection, invited, "")
                connection.execute(membership.insert().values(user_id=invited.id, **vars(role)))
                _add_link(connection, link, invited.id)
                return invited
            mine = [held.project for held in memberships_of(connection, known.user.id)] == [role.project]
            if not known.user.pending or known.user.disabled or not mine:
                raise _taken(invited.name)
            _set_role(connection, known.user.id, role.project, role.role)
            _add_link(connection, link, known.user.id)
            return known.user

        return await self._database.write(work)

    async def add_link(self, user_id: str, link: Link) -> None:
        """In the place of an older one of this user."""
        await self._database.write(lambda connection: _add_link(connection, link, user_id))

    async def find_link(self, secret_hash: str, now: datetime) -> User:
        """Whose password a link sets. Raises :class:`NotFound` (unknown-link)."""
        return await self._database.read(lambda connection: _user_of_link(connection, secret_hash, now))

    async def accept_link(self, secret_hash: str, password_hash: str, now: datetime) -> User:
        """Use a link up and set the password; all sessions end. Raises :class:`NotFound` (unknown-link)."""

        def work(connection: Connection) -> User:
            self._database.lock(connection, "users")
            user = _user_of_link(connection, secret_hash, now)
            values = {"password_hash": password_hash}
            connection.execute(user_account.update().where(user_account.c.id == user.id).values(**values))
            sign_out(connection, user.id)
            return _user(connection, user.name)

        return await self._database.write(work)

    async def set_role(self, project: str, name: str, role: Role, *, add_at: datetime | None) -> Member:
        """With `add_at` also to somebody who has none yet, and from the last owner: an administrator's wish.

        Raises :class:`NotFound`, and :class:`Conflict` (last-owner).
        """

        def work(connection: Connection) -> Member:
            self._database.lock(connection, "accept")
            self._database.lock(connection, "users")
            find_project(connection, project)
            user = _user(connection, name, "" if add_at else project)
            held = _role(connection, user.id, project)
            if held is None:
                if add_at is None:
                    raise unknown_user(name, project)
                added = Membership(project, role, add_at)
                connection.execute(membership.insert().values(user_id=user.id, **vars(added)))
            elif role is not Role.OWNER:
                _check_not_last(connection, user, project, held, forced=add_at is not None)
            _set_role(connection, user.id, project, role)
            return Member(user, role)

        return await self._database.write(work)

    async def remove(self, project: str, name: str, *, forced: bool) -> None:
        """With their last role the user goes as well. `forced` takes the last owner of a project, too.

        Raises :class:`NotFound`, and :class:`Conflict` (last-owner).
        """

        def work(connection: Connection) -> None:
            self._database.lock(connection, "users")
            user = _user(connection, name, project)
            held = _role(connection, user.id, project)
            if held is None:
                raise unknown_user(name, project)
            _check_not_last(connection, user, project, held, forced=forced)
            mine = (membership.c.user_id == user.id, membership.c.project == project)
            connection.execute(membership.delete().where(*mine))
            remove_homeless(connection)

        await self._database.write(work)

    async def set_disabled(self, name: str, disabled: bool) -> User:
        """Disabling ends all sessions and links. Repeatable. Raises NotFound, and Conflict (last-owner)."""

        def work(connection: Connection) -> User:
            self._database.lock(connection, "users")
            user = _user(connection, name)
            if user.owner and disabled:
                raise _last_owner(name, "the installation")
            connection.execute(user_account.update().where(user_account.c.id == user.id).values(disabled=disabled))
            if disabled:
                sign_out(connection, user.id)
            return _user(connection, name)

        return await self._database.write(work)

    async def reset(self, name: str, link: Link, *, without_totp: bool) -> User:
        """Give a user a link that sets another password. Raises NotFound, and Conflict (user-disabled)."""

        def work(connection: Connection) -> User:
            self._database.lock(connection, "users")
            user = _user(connection, name)
            if user.disabled:
                raise Conflict(
                    f"The user {name} is disabled",
                    why="A password would be of no use to them",
                    todo=f"Let them in again first: insula user enable {name}",
                    code="user-disabled",
                )
            if without_totp:
                connection.execute(user_account.update().where(user_account.c.id == user.id).values(**NO_TOTP))
            _add_link(connection, link, user.id)
            return _user(connection, name)

        return await self._database.write(work)


def memberships_of(connection: Connection, user_id: str) -> list[Membership]:
    """A user's roles, the oldest first."""
    query = membership.select().where(membership.c.user_id == user_id).order_by("since", "project")
    return [Membership(row.project, row.role, row.since) for row in connection.execute(query)]


def _insert(connection: Connection, user: User, password_hash: str) -> None:
    facts = {"id": user.id, "name": user.name, "created_at": user.created_at, "owner": user.owner}
    values = {**facts, "disabled": user.disabled, "password_hash": password_hash, **NO_TOTP}
    connection.execute(user_account.insert().values(**values))


def _user(connection: Connection, name: str, project: str = "") -> User:
    account = find_account(connection, name)
    if account is None:
        raise unknown_user(name, project)
    return account.user


def _role(connection: Connection, user_id: str, project: str) -> Role | None:
    held = [each.role for each in memberships_of(connection, user_id) if each.project == project]
    return held[0] if held else None


def _set_role(connection: Connection, user_id: str, project: str, role: Role) -> None:
    mine = (membership.c.user_id == user_id, membership.c.project == project)
    connection.execute(membership.update().where(*mine).values(role=role))


def _check_not_last(connection: Connection, user: User, project: str, role: Role, *, forced: bool) -> None:
    """Raise unless somebody is left who decides over the project; an administrator does so anyway."""
    if user.owner:
        raise _last_owner(user.name, "the installation")
    if forced or role is not Role.OWNER:
        return
    others = (
        sa.select(sa.func.count())
        .select_from(membership.join(user_account, membership.c.user_id == user_account.c.id))
        .where(membership.c.project == project, membership.c.role == Role.OWNER, membership.c.user_id != user.id)
        .where(user_account.c.disabled.is_(False), user_account.c.password_hash != "")
    )
    if not connection.execute(others).scalar_one():
        raise _last_owner(user.name, f"project {project}")


def _has_owner(connection: Connection) -> bool:
    return connection.execute(user_account.select().where(user_account.c.owner)).first() is not None


def _add_link(connection: Connection, link: Link, user_id: str | None) -> None:
    if user_id is not None:
        connection.execute(user_link.delete().where(user_link.c.user_id == user_id))
    connection.execute(user_link.insert().values(user_id=user_id, **vars(link)))


def _link(connection: Connection, secret_hash: str, now: datetime) -> sa.Row[tuple[object, ...]] | None:
    good = (user_link.c.secret_hash == secret_hash, user_link.c.expires_at > now)
    return connection.execute(user_link.select().where(*good)).first()


def _user_of_link(connection: Connection, secret_hash: str, now: datetime) -> User:
    link = _link(connection, secret_hash, now)
    if link is None or link.user_id is None:
        raise unknown_link()
    row = connection.execute(user_account.select().where(user_account.c.id == link.user_id)).one()
    return user_of_row(row)


def unknown_link() -> NotFound:
    return NotFound(
        "This link is not valid",
        why="It was used, it has ended, or a newer one was made",
        todo="Ask whoever sent it for a new one",
        code="unknown-link",
    )


def _has_owner_already() -> Conflict:
    return Conflict(
        "The installation has an owner already",
        why="The first account is made once",
        todo="Sign in with it, or let its owner invite you; `insula user reset-password` sets a forgotten password",
        code="owner-exists",
    )


def _last_owner(name: str, of: str) -> Conflict:
    return Conflict(
        f"{name} is the last owner of {of}",
        why="Nobody would be left who decides over it",
        todo="Make somebody else an owner first"
        if of != "the installation"
        else "The account that was made first stays; its password and second factor can be changed",
        code="last-owner",
    )


def _taken(name: str) -> Conflict:
    return Conflict(
        f"There is a user {name} already",
        why="Names of users are unique, and only who has no account yet is invited",
        todo="If it is the same person, an administrator gives them a role here: insula user set-role",
        code="user-exists",
        fields={"name": "taken"},
    )
