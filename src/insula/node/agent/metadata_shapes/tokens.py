"""Tokens that guests are given for a while: for one instance and one purpose, and remembered by nobody."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable

from insula.base.clock import monotonic_s


class Tokens:
    """Those that this process has given. After a restart of the service guests ask for new ones."""

    def __init__(self, now_s: Callable[[], float] = monotonic_s) -> None:
        self._key = secrets.token_bytes(32)
        self._now_s = now_s

    def issue(self, instance_id: str, purpose: str, lifetime_s: int) -> str:
        """A token that lives so long."""
        end_s = int(self._now_s()) + lifetime_s
        return f"{end_s:x}.{self._seal(instance_id, purpose, end_s)}"

    def left_s(self, token: str, instance_id: str, purpose: str) -> int:
        """How long it is good for; 0 for one that is not, or is another's."""
        text, _, seal = token.partition(".")
        try:
            end_s = int(text, 16)
        except ValueError:
            return 0
        is_ours = hmac.compare_digest(seal.encode(), self._seal(instance_id, purpose, end_s).encode())
        return max(0, end_s - int(self._now_s())) if is_ours else 0

    def _seal(self, instance_id: str, purpose: str, end_s: int) -> str:
        told = f"{instance_id}\0{purpose}\0{end_s}".encode()
        return base64.urlsafe_b64encode(hmac.digest(self._key, told, hashlib.sha256)).decode().rstrip("=")


def lifetime_of(text: str, most_s: int) -> int:
    """Seconds that somebody asks for, 0 for a text that is no number between 1 and `most_s`."""
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(most_s))
    return int(text) if is_number and int(text) <= most_s else 0
