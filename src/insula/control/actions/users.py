"""Users of a project: who belongs to it, as what, and how they come in."""

from __future__ import annotations

from datetime import timedelta

from insula.base.clock import now_utc
from insula.base.errors import Conflict, InvalidInput
from insula.control.actions.access import Access, no_project
from insula.control.actions.account import OwnAccount
from insula.control.actions.caller import Audit, Caller, Page, action
from insula.control.actions.credentials import Credentials, Visit, audited, looks_one_time, new_one_time_secret
from insula.control.actions.faults import Faults
from insula.control.actions.passwords import check_password
from insula.control.actions.secret import hash_secret
from insula.control.actions.tokens import check_may_give
from insula.control.store import Link, Store, unknown_link, unknown_user
from insula.domain.access import Scope
from insula.domain.ids import Kind, new_id
from insula.domain.user import (
    SCOPES_OF,
    LinkKind,
    Member,
    Membership,
    Role,
    User,
    UserWithRoles,
    check_user_name,
    known_name,
    subject_of,
)

_SERVICE = "system:service"
_GOOD_FOR = {
    LinkKind.FIRST: timedelta(hours=24),
    LinkKind.INVITATION: timedelta(days=7),
    LinkKind.RESET: timedelta(hours=24),
}
_PATHS = {
    LinkKind.FIRST: "/panel/first",
    LinkKind.INVITATION: "/panel/invitation",
    LinkKind.RESET: "/panel/invitation",
}


class UserActions(OwnAccount):
    """Users, and one's own account."""

    def __init__(self, store: Store, access: Access, credentials: Credentials) -> None:
        super().__init__(store, credentials)
        self._access = access

    async def first_link(self, base_url: str) -> str | None:
        """A link that makes the installation's owner, once; None when there is one. It ends those made before."""
        async with audited(self.store, Visit("users.first_link", _SERVICE)):
            try:
                return base_url.rstrip("/") + await self._new_first_path()
            except Conflict:
                return None

    @action("users.first_link", Scope.ADMIN, audit=Audit.AFTER)
    async def make_first_link(self, caller: Caller) -> str:
        """The same, from the path on, for whoever administers the host. Raises Conflict (owner-exists)."""
        return await self._new_first_path()

    async def make_owner(self, secret: str, name: str, password: str) -> User:
        """The installation's first account, by the first link's secret.

        Raises NotFound (unknown-link), InvalidInput, Conflict (owner-exists, user-exists).
        """
        secret_hash = hash_secret(secret)
        if not looks_one_time(secret) or not await self.store.users.is_first_link(secret_hash, now_utc()):
            raise unknown_link()
        async with audited(self.store, Visit("users.make_owner")) as visit:
            faults = Faults()
            with faults.of("name"):
                name = check_user_name(name)
            with faults.of("password"):
                password = check_password(password, name)
            faults.raise_if_any("The account cannot be made")
            visit.subject, visit.target = subject_of(name), name
            hashed = await self._credentials.passwords.hash(password)
            return await self.store.users.make_owner(secret_hash, _new_user(name, owner=True), hashed)

    @action("users.list", Scope.USERS_READ, audit=Audit.NEVER)
    async def list(self, caller: Caller) -> Page[Member]:
        """Those of the caller's project, by name."""
        return Page(tuple(await self.store.users.members(caller.project)))

    @action("users.list_all", Scope.ADMIN, audit=Audit.NEVER)
    async def list_all(self, caller: Caller) -> Page[UserWithRoles]:
        """Everybody, by name, with their roles in all projects."""
        return Page(tuple(await self.store.users.everybody()))

    @action("users.invite", Scope.USERS_WRITE, audit=Audit.AFTER)
    async def invite(self, caller: Caller, name: str, role: str) -> tuple[User, str]:
        """A user without a password, and the secret of the link that sets it; again for one who has not come yet.

        Raises InvalidInput, Forbidden for a role that may more than the caller, Conflict (user-exists).
        """
        faults = Faults()
        wanted = Role.READER
        with faults.of("name"):
            name = check_user_name(name)
        with faults.of("role"):
            wanted = _check_role(role)
        faults.raise_if_any("Nobody can be invited like that")
        await self._check_may_change(caller, name, caller.project, wanted)
        secret, link = _new_link(LinkKind.INVITATION)
        held = Membership(caller.project, wanted, now_utc())
        return await self.store.users.invite(_new_user(name, owner=False), held, link), secret

    async def accept_invitation(self, secret: str, password: str) -> User:
        """Set the password by the secret of an invitation's link, or of one that sets another password.

        All sessions of the user end. Raises NotFound (unknown-link) and InvalidInput (weak-password).
        """
        if not looks_one_time(secret):
            raise unknown_link()
        user = await self.store.users.find_link(hash_secret(secret), now_utc())
        home = await self.store.users.home(user.name)
        async with audited(self.store, Visit("users.accept_invitation", subject_of(user.name), home, user.id)):
            hashed = await self._credentials.passwords.hash(check_password(password, user.name))
            return await self.store.users.accept_link(hash_secret(secret), hashed, now_utc())

    @action("users.set_role", Scope.USERS_WRITE, audit=Audit.AFTER)
    async def set_role(self, caller: Caller, name: str, project: str, role: str) -> Member:
        """Another role; an administrator gives one to users of other projects as well.

        Raises InvalidInput, NotFound (unknown-project, unknown-user), Forbidden for a role that may more than the
        caller, and Conflict (last-owner).
        """
        wanted, name = _check_role(role), _named(name)
        await self._check_project(caller, project)
        await self._check_may_change(caller, name, project, wanted)
        add_at = now_utc() if caller.identity.may(Scope.ADMIN) else None
        return await self.store.users.set_role(project, name, wanted, add_at=add_at)

    @action("users.remove", Scope.USERS_WRITE, audit=Audit.AFTER)
    async def remove(self, caller: Caller, name: str, project: str) -> None:
        """From the project; who belongs to no other one is removed altogether.

        Raises NotFound, Forbidden for somebody who may more than the caller, and Conflict (last-owner).
        """
        name = _named(name)
        await self._check_project(caller, project)
        await self._check_may_change(caller, name, project)
        await self.store.users.remove(project, name, forced=caller.identity.may(Scope.ADMIN))

    @action("users.disable", Scope.ADMIN, audit=Audit.AFTER)
    async def disable(self, caller: Caller, name: str) -> User:
        """Signed out everywhere, and let in nowhere. May be repeated. Raises NotFound, and Conflict (last-owner)."""
        return await self.store.users.set_disabled(_named(name), True)

    @action("users.enable", Scope.ADMIN, audit=Audit.AFTER)
    async def enable(self, caller: Caller, name: str) -> User:
        """May be repeated. Raises NotFound."""
        return await self.store.users.set_disabled(_named(name), False)

    @action("users.reset_password", Scope.ADMIN, audit=Audit.AFTER)
    async def reset_password(self, caller: Caller, name: str, *, without_totp: bool = False) -> tuple[User, str]:
        """The secret of a link that sets another password; `without_totp` also takes the second factor away.

        Raises NotFound, and Conflict (user-disabled).
        """
        secret, link = _new_link(LinkKind.RESET)
        return await self.store.users.reset(_named(name), link, without_totp=without_totp), secret

    async def _new_first_path(self) -> str:
        secret, link = _new_link(LinkKind.FIRST)
        await self.store.users.add_first_link(link)
        return link_path(LinkKind.FIRST, secret)

    async def _check_project(self, caller: Caller, project: str) -> None:
        if project != caller.project:
            if not caller.identity.may(Scope.ADMIN):
                raise no_project(project)
            await self._access.check_project(project)

    async def _check_may_change(self, caller: Caller, name: str, project: str, wanted: Role | None = None) -> None:
        """Nobody makes anybody more than they are themselves, nor decides over who is."""
        roles = [each.role for each in await self.store.users.members(project) if each.user.name == name]
        for role in (*roles, *([wanted] if wanted is not None else [])):
            check_may_give(caller, SCOPES_OF[role])


def link_path(kind: LinkKind, secret: str) -> str:
    """Where the panel takes a one-time secret."""
    return f"{_PATHS[kind]}?key={secret}"


def _named(name: str) -> str:
    """The name as it is kept, of what somebody typed. Raises NotFound (unknown-user) for what is nobody's."""
    kept = known_name(name)
    if not kept:
        raise unknown_user(name)
    return kept


def _new_link(kind: LinkKind) -> tuple[str, Link]:
    secret = new_one_time_secret()
    return secret, Link(kind, hash_secret(secret), now_utc() + _GOOD_FOR[kind])


def _new_user(name: str, *, owner: bool) -> User:
    return User(new_id(Kind.USER), name, now_utc(), owner=owner, totp_enabled=False, disabled=False, pending=not owner)


def _check_role(role: str) -> Role:
    try:
        return Role(role)
    except ValueError as error:
        rule = f"must be one of {', '.join(Role)}"
        raise InvalidInput(
            f"{role[:40]!r} is no role",
            why=f"It {rule}",
            todo="Choose one of them",
            code="invalid-role",
            fields={"role": rule},
        ) from error
