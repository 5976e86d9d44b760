"""Who is it? Peer credentials on the Unix socket, bearer tokens and signatures by tokens' keys over TCP."""

from __future__ import annotations

import os
import pwd
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from insula.base.clock import monotonic_s, now_utc
from insula.base.errors import Forbidden, NotFound, Unauthenticated
from insula.control.actions.secret import hash_secret, looks_right
from insula.control.actions.signing import SigningKeys, token_of
from insula.control.store import Store
from insula.domain.access import DEFAULT_PROJECT, Identity, Scope, Token

_REMEMBERED_MAX = 1024
_TOUCH_EVERY_S = 60.0


class Access:
    """Turns proofs into identities. Costs no database on most requests: the store keeps tokens in memory."""

    def __init__(self, store: Store, signing: SigningKeys) -> None:
        self._store = store
        self._signing = signing
        self._touched: OrderedDict[str, float] = OrderedDict()
        self._projects: OrderedDict[str, None] = OrderedDict()
        self._forgotten = 0  # grows with every forget: what was read before one must not be remembered after it

    async def of_peer(self, uid: int, project: str = "") -> Identity:
        """The identity of a process on this host: root and the service's own user are administrators.

        Raises :class:`Forbidden` for other users.
        """
        if uid not in (0, os.geteuid()):
            raise Forbidden(
                f"The user {_user_name(uid)} may not use the service's socket",
                why=f"Only root and {_user_name(os.geteuid())}, who runs the service, are trusted there",
                todo="Use sudo, or INSULA_URL=http://… with INSULA_TOKEN",
                code="untrusted-user",
            )
        identity = Identity(f"local:{_user_name(uid)}", project or DEFAULT_PROJECT, frozenset({Scope.ADMIN}))
        await self.check_project(identity.project)
        return identity

    async def of_token(self, secret: str, project: str = "") -> Identity:
        """The identity that a token's secret stands for; an administrator's may work in any `project`.

        Raises :class:`Unauthenticated`, :class:`NotFound` for a project that does not exist or is not the token's.
        """
        return await self._identity(await self._find(secret), project)

    async def of_signature(self, key_id: str, is_right: Callable[[str], bool], project: str = "") -> Identity:
        """The identity of whoever signed with the key of this id; `is_right` checks the signature with its secret.

        Raises :class:`Unauthenticated` (invalid-token, token-expired, signature-mismatch), and NotFound as above.
        """
        token = await self._store.tokens.find_by_id(token_of(key_id))
        if token is None or token.revoked:
            raise _unknown_token()
        # Before the token is said to have expired: who cannot sign learns nothing of it.
        if not is_right(self._signing.of(token.id).secret):
            raise Unauthenticated(
                "The signature is not the one that belongs to this request",
                why="It was made with another secret, or the request was changed on its way",
                todo="Check the secret of the key, and that nothing between here and the client changes requests",
                code="signature-mismatch",
            )
        _check_valid(token)
        await self._touch(token.id)
        return await self._identity(token, project)

    async def _identity(self, token: Token, project: str) -> Identity:
        wanted = project or token.project
        if wanted != token.project:
            if Scope.ADMIN not in token.scopes:
                raise no_project(wanted)
            await self.check_project(wanted)
        return Identity(f"token:{token.name}", wanted, token.scopes)

    def forget_project(self, name: str) -> None:
        """A deleted project must not be found any more."""
        self._forgotten += 1
        self._projects.pop(name, None)

    async def _find(self, secret: str) -> Token:
        if not looks_right(secret):
            raise _unknown_token()
        token = await self._store.tokens.find(hash_secret(secret))
        if token is None or token.revoked:
            raise _unknown_token()
        _check_valid(token)
        await self._touch(token.id)
        return token

    async def _touch(self, token_id: str) -> None:
        # Last use is for people who tidy up: once a minute is exact enough, and keeps reads from becoming writes.
        now_s = monotonic_s()
        if now_s - self._touched.get(token_id, -_TOUCH_EVERY_S) < _TOUCH_EVERY_S:
            return
        self._touched[token_id] = now_s
        _trim(self._touched)
        await self._store.tokens.touch(token_id, now_utc())

    async def check_project(self, name: str) -> None:
        """Raises :class:`NotFound` (unknown-project) when it does not exist."""
        if name in self._projects:
            return
        before = self._forgotten
        try:
            await self._store.projects.get(name)
        except NotFound as error:
            raise no_project(name) from error
        if before == self._forgotten:
            self._projects[name] = None
            _trim(self._projects)


def _trim(remembered: OrderedDict[str, Any]) -> None:
    while len(remembered) > _REMEMBERED_MAX:
        remembered.popitem(last=False)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _check_valid(token: Token) -> None:
    if token.expires_at is not None and token.expires_at <= now_utc():
        raise Unauthenticated(
            f"The token {token.name} has expired",
            why=f"It was valid until {token.expires_at:%Y-%m-%d %H:%M} UTC",
            todo="Make a new one with `insula token create`",
            code="token-expired",
        )


def _unknown_token() -> Unauthenticated:
    return Unauthenticated(
        "The token is not valid",
        why="It is unknown, mistyped or revoked",
        todo="Set INSULA_TOKEN to a valid one; `insula token create` on the host makes one",
        code="invalid-token",
    )


def no_project(name: str) -> NotFound:
    """The error for a project that does not exist, or that is not the caller's: they are not told which."""
    return NotFound(
        f"There is no project {name[:80]!r}",
        why="It does not exist, or who asks does not belong to it",
        todo="Leave the project out to work in your own, or the token's; `insula project list` shows all",
        code="unknown-project",
    )
