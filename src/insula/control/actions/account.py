"""What users do with their own account, whatever their roles are."""

from __future__ import annotations

from collections.abc import Sequence

from insula.base.clock import now_utc
from insula.base.errors import Conflict, InvalidInput, Unauthenticated
from insula.control.actions.caller import Audit, Caller, own_action
from insula.control.actions.credentials import Credentials
from insula.control.actions.passwords import check_password
from insula.control.actions.second_factors import (
    new_recovery_codes,
    new_totp_secret,
    plain_recovery_code,
    step_of,
    totp_text,
    totp_uri,
)
from insula.control.actions.secret import hash_secret
from insula.control.store import Account, Store
from insula.domain.user import Role, User, user_of


class OwnAccount:
    """Part of the actions on users: the caller's own. All raise Forbidden (not-a-user) for tokens and the host's."""

    def __init__(self, store: Store, credentials: Credentials) -> None:
        self.store = store
        self._credentials = credentials

    @own_action("account.show", audit=Audit.NEVER)
    async def me(self, caller: Caller) -> User:
        return (await self._own(caller)).user

    @own_action("account.projects", audit=Audit.NEVER)
    async def projects_of(self, caller: Caller) -> Sequence[tuple[str, Role]]:
        """Where the caller may work, the first one first; the installation's owner owns all projects."""
        user = (await self._own(caller)).user
        held = [(each.project, each.role) for each in await self.store.users.memberships(user.id)]
        if not user.owner:
            return held
        mine = {project for project, _ in held}
        others = [each.name for each in await self.store.projects.list() if each.name not in mine]
        return [(project, Role.OWNER) for project in (*(project for project, _ in held), *others)]

    @own_action("account.change_password", audit=Audit.AFTER)
    async def change_password(self, caller: Caller, old: str, new: str) -> None:
        """All sessions of the caller end, this one too.

        Raises InvalidInput (wrong-password, weak-password) and RateLimited.
        """
        account = await self._own(caller)
        checked = check_password(new, account.user.name, "new")
        await self._credentials.confirm(account, old, "old")
        hashed = await self._credentials.passwords.hash(checked)
        await self.store.accounts.set_password(account.user.id, hashed)

    @own_action("account.start_totp", audit=Audit.AFTER)
    async def start_totp(self, caller: Caller) -> tuple[str, str]:
        """A second factor's secret as text and as otpauth URI; it is asked for after :meth:`confirm_totp` only.

        Raises Conflict (totp-enabled).
        """
        user = (await self._own(caller)).user
        if user.totp_enabled:
            raise Conflict(
                "The second factor is on already",
                why="Whoever finds this browser signed in could replace it",
                todo="Switch it off first, which needs the password",
                code="totp-enabled",
            )
        secret = new_totp_secret()
        await self.store.accounts.offer_totp(user.id, self._credentials.seal.close(secret, user.id))
        return totp_text(secret), totp_uri(secret, user.name)

    @own_action("account.confirm_totp", audit=Audit.AFTER)
    async def confirm_totp(self, caller: Caller, code: str) -> Sequence[str]:
        """Ask for the second factor from now on; `code` shows that the caller has it. Gives ten recovery codes, once.

        Raises Conflict (no-totp-offered) before :meth:`start_totp`, and InvalidInput (invalid-totp-code).
        """
        account = await self._own(caller)
        if not account.totp_offered:
            raise _none_offered()
        step = step_of(self._credentials.seal.open(account.totp_offered, account.user.id), code, now_utc())
        if step is None:
            raise InvalidInput(
                "This is not the code of this moment",
                why="It changes every 30 s; the clock here, or the one of what shows it, may be wrong",
                todo="Type the one that is shown now",
                code="invalid-totp-code",
                fields={"code": "is wrong"},
            )
        codes = new_recovery_codes()
        hashes = tuple(hash_secret(plain_recovery_code(each)) for each in codes)
        if not await self.store.accounts.take_totp(account.user.id, account.totp_offered, step, hashes):
            raise _none_offered()
        return codes

    @own_action("account.stop_totp", audit=Audit.AFTER)
    async def stop_totp(self, caller: Caller, password: str) -> None:
        """Recovery codes end with it. May be repeated. Raises InvalidInput (wrong-password) and RateLimited."""
        account = await self._own(caller)
        await self._credentials.confirm(account, password, "password")
        await self.store.accounts.stop_totp(account.user.id)

    async def _own(self, caller: Caller) -> Account:
        account = await self.store.accounts.find(user_of(caller.identity.subject))
        if account is None:
            raise not_signed_in()
        return account


def not_signed_in() -> Unauthenticated:
    """The error for a session that is none, or none any more."""
    return Unauthenticated(
        "You are not signed in",
        why="The session has ended, here or from elsewhere, or the account was closed",
        todo="Sign in",
        code="not-signed-in",
    )


def _none_offered() -> Conflict:
    return Conflict(
        "There is no second factor to confirm",
        why="None was begun, or another one was begun since",
        todo="Begin again",
        code="no-totp-offered",
    )
