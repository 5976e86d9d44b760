"""What people prove with that they are who they say: passwords, second factors and one-time secrets, and how often."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

from insula.base.clock import now_utc
from insula.base.errors import InsulaError, InvalidInput
from insula.control.actions.attempts import Attempts
from insula.control.actions.passwords import Passwords
from insula.control.actions.second_factors import Seal, looks_like_totp, plain_recovery_code, step_of
from insula.control.actions.secret import hash_secret
from insula.control.actions.signing import SigningKeys
from insula.control.store import Account, AuditLine, Store
from insula.domain.access import DEFAULT_PROJECT

_SECRET_BYTES = 32
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


class Credentials:
    """Checks them. One of these serves all: guesses are counted together."""

    def __init__(self, store: Store, signing: SigningKeys) -> None:
        self._store = store
        self.passwords = Passwords()
        self.attempts = Attempts()
        self.seal = Seal(signing.derived("second factors of users"))

    async def is_password(self, account: Account | None, password: str) -> bool:
        """Whether it is this account's; for none it takes as long, and is not."""
        return await self.passwords.matches(account.password_hash if account else "", password)

    async def is_code(self, account: Account, code: str) -> bool:
        """Whether it is a code of the account's second factor, or a recovery code; it is used up then."""
        user_id = account.user.id
        if not looks_like_totp(code):
            return await self._store.accounts.use_recovery(user_id, hash_secret(plain_recovery_code(code)))
        step = step_of(self.seal.open(account.totp_secret, user_id), code, now_utc())
        return step is not None and await self._store.accounts.use_step(user_id, step)

    async def confirm(self, account: Account, password: str, field: str) -> None:
        """Make sure that who is signed in knows the password. Raises InvalidInput (wrong-password), RateLimited."""
        attempt = self.attempts.begin(account.user.name)
        if not await self.is_password(account, password):
            raise InvalidInput(
                "This is not your password",
                why="It is asked for again before what proves who you are is changed",
                todo="Type the one that you sign in with",
                code="wrong-password",
                fields={field: "is wrong"},
            )
        attempt.take_back()


@dataclass
class Visit:
    """Something done by somebody who is not known before its end; what is not known yet is filled in on the way."""

    action: str
    subject: str = "anonymous"
    project: str = DEFAULT_PROJECT
    target: str = ""


@contextlib.asynccontextmanager
async def audited(store: Store, visit: Visit) -> AsyncIterator[Visit]:
    """Write a line into the audit log when it is over, whatever came of it."""
    outcome = "interrupted"
    try:
        yield visit
        outcome = "done"
    except InsulaError as error:
        outcome = f"refused: {error.code}"
        raise
    finally:
        line = AuditLine(visit.subject, visit.project, visit.action, visit.target, outcome, request_id="")
        await store.audit.append(line)


def new_one_time_secret() -> str:
    """256 random bits that are shown once, for cookies and links."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def looks_one_time(secret: str) -> bool:
    """Whether it may be one of these; says nothing about whether it is known."""
    return _SECRET.fullmatch(secret) is not None
