"""Tokens for TCP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from insula.base.clock import now_utc
from insula.base.errors import Forbidden
from insula.control.actions.caller import Audit, Caller, Page, action
from insula.control.actions.faults import Faults
from insula.control.actions.secret import PREFIX, hash_secret, is_prefix, new_secret
from insula.control.actions.signing import SigningKey, SigningKeys
from insula.control.store import Store
from insula.domain.access import Scope, Token
from insula.domain.ids import Kind, new_id
from insula.domain.names import check_name

MAX_DAYS = 3650


@dataclass(frozen=True)
class NewToken:
    """A token, its secret, and the key that signs in its name; the secrets are shown this once."""

    token: Token
    secret: str = field(repr=False)
    key: SigningKey


class TokenActions:
    def __init__(self, store: Store, signing: SigningKeys) -> None:
        self.store = store
        self._signing = signing

    @action("tokens.list", Scope.TOKENS_WRITE, audit=Audit.NEVER)
    async def list(self, caller: Caller) -> Page[Token]:
        return Page(tuple(await self.store.tokens.list(caller.project)))

    @action("tokens.create", Scope.TOKENS_WRITE, audit=Audit.AFTER)
    async def create(
        self,
        caller: Caller,
        name: str,
        scopes: Sequence[str],
        expires_in_days: float | None = None,
        prefix: str = PREFIX,
    ) -> NewToken:
        """A token of the caller's project, whose secret begins with `prefix`.

        Raises Forbidden for scopes that the caller does not hold, and InvalidInput.
        """
        faults = Faults()
        with faults.of("name"):
            check_name(name)
        known = {str(scope) for scope in Scope}
        unknown = sorted(set(scopes) - known)
        if unknown or not scopes:
            told = f"unknown: {', '.join(unknown)[:200]}; " if unknown else ""
            faults.note("scopes", f"{told}must be some of {', '.join(sorted(known))}")
        if expires_in_days is not None and not 0 < expires_in_days <= MAX_DAYS:
            faults.note("expires_in_days", f"must be above 0 and at most {MAX_DAYS}")
        if not is_prefix(prefix):
            faults.note("prefix", "must have at most 20 of a-z, 0-9 and _, the last one a _")
        faults.raise_if_any("The token cannot be made")
        wanted = frozenset(Scope(scope) for scope in scopes)
        check_may_give(caller, wanted)
        secret = new_secret(prefix)
        now = now_utc()
        token = Token(
            id=new_id(Kind.TOKEN),
            name=name,
            project=caller.project,
            scopes=wanted,
            created_at=now,
            expires_at=None if expires_in_days is None else now + timedelta(days=expires_in_days),
            last_used_at=None,
            revoked=False,
        )
        added = await self.store.tokens.add(token, hash_secret(secret))
        return NewToken(added, secret, self._signing.of(added.id))

    @action("tokens.revoke", Scope.TOKENS_WRITE, audit=Audit.AFTER)
    async def revoke(self, caller: Caller, token_id: str) -> None:
        """Refused from now on. May be repeated."""
        await self.store.tokens.revoke(caller.project, token_id)


def check_may_give(caller: Caller, scopes: frozenset[Scope]) -> None:
    """Raise :class:`Forbidden` for scopes that the caller does not hold."""
    missing = sorted(scope for scope in scopes if not caller.identity.may(scope))
    if missing:
        raise Forbidden(
            f"{caller.identity.subject} may not hand out {', '.join(missing)}",
            why="Nobody can give more than they hold, nor decide over who holds more",
            todo="Ask for less, or let an administrator do it",
            code="missing-scope",
        )
