"""Tickets for consoles: one opens one console of one session, once, within half a minute.

A WebSocket cannot carry the token that protects forms; a page that was made for a session gets a ticket instead.
"""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from insula.base.clock import monotonic_s
from insula.base.errors import Forbidden

LIFETIME_S = 30.0
_KEPT = 1000


@dataclass(frozen=True)
class _Ticket:
    session: str
    instance_id: str
    until_s: float


class Tickets:
    """Bounded and kept in memory."""

    def __init__(self) -> None:
        self._given: OrderedDict[str, _Ticket] = OrderedDict()

    def give(self, session: str, instance_id: str) -> str:
        """A new one. `session` is what the session is known by."""
        secret = secrets.token_urlsafe(24)
        self._given[secret] = _Ticket(session, instance_id, monotonic_s() + LIFETIME_S)
        while len(self._given) > _KEPT:
            self._given.popitem(last=False)
        return secret

    def take(self, secret: str, session: str, instance_id: str) -> None:
        """Use it up. Raises Forbidden for one that was used, is too old, or is not this session's and instance's."""
        ticket = self._given.pop(secret, None)
        is_right = (
            ticket is not None
            and hmac.compare_digest(ticket.session, session)
            and ticket.instance_id == instance_id
            and ticket.until_s > monotonic_s()
        )
        if not is_right:
            raise Forbidden(
                "The console cannot be opened with this ticket",
                why=f"A ticket opens one console once, within {LIFETIME_S:g} s",
                todo="Open the console's page again",
                code="invalid-ticket",
            )
