"""Keys, tokens, projects and the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from insula.client.connection import Connection, path_of
from insula.client.decode import build
from insula.domain.access import AuditEntry, Project, SshKey, Token


@dataclass(frozen=True)
class NewToken:
    """A token just made. The secrets are shown this once: its own, and that of the key that signs in its name."""

    token: Token
    secret: str
    key_id: str
    key_secret: str


class Keys:
    """SSH public keys; `key` is a name or an id."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> list[SshKey]:
        return [build(SshKey, item) for item in self._connection.pages(path_of("keys"))]

    def get(self, key: str) -> SshKey:
        return build(SshKey, self._connection.get(path_of("keys", key)))

    def add(self, name: str, public_key: str) -> SshKey:
        body = {"name": name, "public_key": public_key}
        return build(SshKey, self._connection.request("POST", path_of("keys"), body=body))

    def rename(self, key: str, name: str) -> SshKey:
        return build(SshKey, self._connection.request("PATCH", path_of("keys", key), body={"name": name}))

    def delete(self, key: str) -> None:
        self._connection.request("DELETE", path_of("keys", key))


class Tokens:
    """Tokens of the project."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> list[Token]:
        return [build(Token, item) for item in self._connection.pages(path_of("tokens"))]

    def create(
        self, name: str, scopes: Sequence[str], *, expires_in_days: float | None = None, prefix: str = ""
    ) -> NewToken:
        """With a `prefix` its secret begins like that, instead of with `insula_`."""
        body: dict[str, Any] = {"name": name, "scopes": list(scopes)}
        if prefix:
            body["prefix"] = prefix
        if expires_in_days is not None:
            body["expires_in_days"] = expires_in_days
        return build(NewToken, self._connection.request("POST", path_of("tokens"), body=body))

    def revoke(self, token_id: str) -> None:
        """From now on the service refuses it. May be repeated."""
        self._connection.request("DELETE", path_of("tokens", token_id))


class Projects:
    """Tenants. Administrators only."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> list[Project]:
        return [build(Project, item) for item in self._connection.pages(path_of("projects"))]

    def create(self, name: str) -> Project:
        return build(Project, self._connection.request("POST", path_of("projects"), body={"name": name}))

    def delete(self, name: str) -> None:
        """Raises Conflict while it has instances."""
        self._connection.request("DELETE", path_of("projects", name))


class Audit:
    """Who did what in this project."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, *, after: int = 0, limit: int = 100) -> list[AuditEntry]:
        """At most `limit` entries, newest first; `after` is the last sequence number of the page before."""
        page = self._connection.get(path_of("audit"), {"after": after, "limit": limit})
        return [build(AuditEntry, item) for item in page["items"]]
