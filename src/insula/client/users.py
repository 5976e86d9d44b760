"""Users and where they are signed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from insula.client.connection import Connection, path_of
from insula.client.decode import build
from insula.domain.user import Member, Role, Session, User, UserWithRoles


@dataclass(frozen=True)
class UserLink:
    """A user, and the path on the service where they set a password, which is shown this once."""

    user: User
    path: str


class Users:
    """Users of the project."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> list[Member]:
        return [build(Member, item) for item in self._connection.pages(path_of("users"))]

    def list_all(self) -> Sequence[UserWithRoles]:
        """Of all projects. Administrators only."""
        return [build(UserWithRoles, item) for item in self._connection.pages(path_of("all-users"))]

    def invite(self, name: str, role: Role) -> UserLink:
        """Raises Conflict when there is an account of this name; :meth:`set_role` adds it to the project then."""
        body = {"name": name, "role": role.value}
        return build(UserLink, self._connection.request("POST", path_of("users"), body=body))

    def set_role(self, name: str, role: Role) -> Member:
        body = {"role": role.value}
        return build(Member, self._connection.request("PUT", path_of("users", name, "role"), body=body))

    def remove(self, name: str) -> None:
        """Who belongs to no other project is removed altogether."""
        self._connection.request("DELETE", path_of("users", name))

    def disable(self, name: str) -> User:
        """May be repeated. Administrators only, as is what follows."""
        return build(User, self._connection.request("POST", path_of("users", name, "disable")))

    def enable(self, name: str) -> User:
        """May be repeated."""
        return build(User, self._connection.request("POST", path_of("users", name, "enable")))

    def reset_password(self, name: str, *, without_totp: bool = False) -> UserLink:
        body = {"without_totp": without_totp}
        return build(UserLink, self._connection.request("POST", path_of("users", name, "reset-password"), body=body))

    def first_link(self) -> str:
        """The path on the service where the first account is made. Raises Conflict when there is one."""
        return str(self._connection.request("POST", path_of("first-link"))["path"])

    def sessions(self, name: str = "") -> Sequence[Session]:
        """Where a user is signed in, or everybody."""
        query = {"user": name} if name else None
        return [build(Session, item) for item in self._connection.pages(path_of("sessions"), query)]

    def end_session(self, session_id: str) -> None:
        """Its browser is signed out."""
        self._connection.request("DELETE", path_of("sessions", session_id))
