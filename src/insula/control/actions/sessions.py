"""Signing in with a browser, and where one is signed in."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from insula.base.clock import now_utc
from insula.base.errors import Unauthenticated
from insula.control.actions.access import Access, no_project
from insula.control.actions.account import not_signed_in
from insula.control.actions.attempts import Attempt
from insula.control.actions.caller import Audit, Caller, Page, action, own_action
from insula.control.actions.credentials import Credentials, Visit, audited, looks_one_time, new_one_time_secret
from insula.control.actions.secret import hash_secret
from insula.control.store import Account, Store
from insula.domain.access import DEFAULT_PROJECT, Identity, Scope
from insula.domain.ids import Kind, new_id
from insula.domain.user import SCOPES_OF, Membership, Session, User, known_name, subject_of, user_of

IDLE_END = timedelta(hours=12)
END = timedelta(days=14)
_TOUCH_EVERY = timedelta(minutes=1)
_AGENT_MAX_CHARS = 200
_ADDRESS_MAX_CHARS = 64


@dataclass(frozen=True)
class SignedIn:
    """A new session, and its secret for the browser's cookie, which is shown this once."""

    secret: str = field(repr=False)
    session: Session


class SessionActions:
    """Who is signed in, and where."""

    def __init__(self, store: Store, access: Access, credentials: Credentials) -> None:
        self.store = store
        self._access = access
        self._credentials = credentials

    async def sign_in(self, name: str, password: str, code: str = "", *, client: str, agent: str) -> SignedIn:
        """A new session of whoever has this name, password and, where there is a second factor, code.

        `client` is the browser's address, `agent` what it calls itself. Raises Unauthenticated: wrong-credentials,
        which does not tell whether there is such a user; code-needed and wrong-code, once the password is right.
        Raises RateLimited (too-many-sign-ins) after several failures.
        """
        known, address = known_name(name), _printable(client, _ADDRESS_MAX_CHARS)
        attempt = self._credentials.attempts.begin(known, client)
        account = await self.store.accounts.find(known)
        home = await self.store.users.home(known)
        visit = Visit("sessions.sign_in", project=home or DEFAULT_PROJECT, target=address)
        if account is not None:
            visit.subject = subject_of(known)  # what nobody is called may be a password in the wrong field
        async with audited(self.store, visit):
            known_account = await self._check(account, password, code, attempt)
            now = now_utc()
            session = Session(
                id=new_id(Kind.SESSION),
                user=known,
                created_at=now,
                last_seen_at=now,
                expires_at=now + END,
                agent=_printable(agent, _AGENT_MAX_CHARS),
                address=address,
            )
            secret = new_one_time_secret()
            if not await self.store.sessions.add(session, hash_secret(secret), known_account.password_hash):
                raise _wrong_credentials()
        attempt.succeeded()
        return SignedIn(secret, session)

    async def of_secret(self, secret: str, project: str = "") -> tuple[Identity, Session]:
        """Who is signed in with this secret, for work in `project` or in the user's first one.

        Raises Unauthenticated (not-signed-in), and NotFound (unknown-project) for one that is not the user's.
        """
        now = now_utc()
        found = await self.store.sessions.find(hash_secret(secret)) if looks_one_time(secret) else None
        if found is None or _has_ended(found.session, now) or found.user.disabled:
            raise not_signed_in()
        identity = await self._identity(found.user, found.memberships, project)
        if now - found.session.last_seen_at > _TOUCH_EVERY:
            await self.store.sessions.touch(found.session.id, now)
        return identity, found.session

    async def sign_out(self, secret: str) -> None:
        """End the session of this secret. May be repeated."""
        found = await self.store.sessions.find(hash_secret(secret)) if looks_one_time(secret) else None
        if found is not None:
            home = found.memberships[0].project if found.memberships else DEFAULT_PROJECT
            visit = Visit("sessions.sign_out", subject_of(found.user.name), home, found.session.id)
            async with audited(self.store, visit):
                await self.store.sessions.end_by_secret(hash_secret(secret))

    @own_action("account.sign_out_everywhere", audit=Audit.AFTER)
    async def sign_out_everywhere(self, caller: Caller) -> None:
        """End all of the caller's sessions, this one too. May be repeated."""
        account = await self.store.accounts.find(user_of(caller.identity.subject))
        if account is not None:
            await self.store.sessions.end_all(account.user.id)

    @own_action("account.sessions", audit=Audit.NEVER)
    async def list(self, caller: Caller) -> Page[Session]:
        """Where the caller is signed in, the one used last first."""
        found = await self.store.sessions.list(user_of(caller.identity.subject))
        return _living(tuple(found))

    @own_action("account.end_session", audit=Audit.AFTER)
    async def end(self, caller: Caller, session_id: str) -> None:
        """End one of the caller's sessions. Raises NotFound (unknown-session)."""
        await self.store.sessions.end(session_id, user_of(caller.identity.subject))

    @action("sessions.list", Scope.ADMIN, audit=Audit.NEVER)
    async def list_all(self, caller: Caller, user: str = "") -> Page[Session]:
        """Where a user is signed in, or everybody, the one used last first."""
        return _living(tuple(await self.store.sessions.list(user.strip().lower())))

    @action("sessions.end", Scope.ADMIN, audit=Audit.AFTER)
    async def end_any(self, caller: Caller, session_id: str) -> None:
        """End anybody's session. Raises NotFound (unknown-session)."""
        await self.store.sessions.end(session_id)

    async def _check(self, account: Account | None, password: str, code: str, attempt: Attempt) -> Account:
        is_right = await self._credentials.is_password(account, password)
        if account is None or not is_right or account.user.disabled:
            raise _wrong_credentials()
        if account.user.totp_enabled:
            if not code.strip():
                attempt.take_back()
                raise Unauthenticated(
                    "A code is needed as well",
                    why="This account has a second factor",
                    todo="Type the code that your app shows, or a recovery code",
                    code="code-needed",
                )
            if not await self._credentials.is_code(account, code):
                raise Unauthenticated(
                    "The code is wrong",
                    why="It is none of this minute, or it was used before",
                    todo="Wait for the next one, or use a recovery code",
                    code="wrong-code",
                )
        return account

    async def _identity(self, user: User, memberships: tuple[Membership, ...], project: str) -> Identity:
        subject = subject_of(user.name)
        if user.owner:
            wanted = project or DEFAULT_PROJECT
            await self._access.check_project(wanted)
            return Identity(subject, wanted, frozenset({Scope.ADMIN}))
        fitting = [held for held in memberships if held.project == project or not project]
        if not fitting:
            raise no_project(project)
        return Identity(subject, fitting[0].project, SCOPES_OF[fitting[0].role])


def _printable(text: str, most_chars: int) -> str:
    return "".join(char for char in text[: 10 * most_chars] if char.isprintable())[:most_chars]


def _living(sessions: tuple[Session, ...]) -> Page[Session]:
    now = now_utc()
    return Page(tuple(session for session in sessions if not _has_ended(session, now)))


def _has_ended(session: Session, now: datetime) -> bool:
    return now >= session.expires_at or now - session.last_seen_at >= IDLE_END


def _wrong_credentials() -> Unauthenticated:
    return Unauthenticated(
        "The name or the password is wrong",
        why="No account fits both",
        todo="Try again; an administrator can give you a link that sets another password",
        code="wrong-credentials",
    )
