"""Tokens. Their secrets are kept as hashes only; looking one up touches no disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from insula.base.errors import NotFound
from insula.control.store.engine import UNSEEN, Database
from insula.control.store.projects import find_project
from insula.control.store.read_model import ReadModel
from insula.control.store.schema import token
from insula.domain.access import Token


@dataclass(frozen=True)
class KnownTokens:
    """All tokens, revoked and expired ones too."""

    by_hash: Mapping[str, Token]
    by_id: Mapping[str, Token]


class Tokens:
    """The table of tokens, with a read model of all."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.model: ReadModel[KnownTokens] = ReadModel(database, "tokens", _load, token)

    def version(self) -> int:
        """Changes with every token that is added or revoked: what was derived from a token is good until then."""
        return self.model.version

    async def find(self, secret_hash: str) -> Token | None:
        """The token with this hash, revoked and expired ones too: the caller judges."""
        return (await self.model.value()).by_hash.get(secret_hash)

    async def find_by_id(self, token_id: str) -> Token | None:
        """The token with this id, which the caller judges as well."""
        return (await self.model.value()).by_id.get(token_id)

    async def list(self, project: str) -> Sequence[Token]:
        """The project's tokens, oldest first."""
        query = token.select().where(token.c.project == project).order_by(token.c.id)
        return await self._database.read(lambda connection: [_token(row) for row in connection.execute(query)])

    async def add(self, new: Token, secret_hash: str) -> Token:
        """Raises :class:`NotFound` without its project."""

        def work(connection: Connection) -> Token:
            find_project(connection, new.project)
            values = {c.name: getattr(new, c.name) for c in token.columns if c is not token.c.secret_hash}
            connection.execute(token.insert().values(**values, secret_hash=secret_hash))
            return new

        return await self._database.write(work)

    async def revoke(self, project: str, token_id: str) -> Token:
        """From the return on it is refused. Repeatable. Raises :class:`NotFound`."""

        def work(connection: Connection) -> Token:
            row = connection.execute(token.select().where(token.c.project == project, token.c.id == token_id)).first()
            if row is None:
                raise NotFound(
                    f"There is no token {token_id[:80]} in project {project}",
                    why="No token has this id",
                    todo="Look at `insula token list`",
                    code="unknown-token",
                )
            connection.execute(token.update().where(token.c.id == token_id).values(revoked=True))
            return replace(_token(row), revoked=True)

        return await self._database.write(work)

    async def touch(self, token_id: str, at: datetime) -> None:
        """Note its last use. Readers of :meth:`find` need not see it, so it throws no read model away."""
        change = (
            token.update().where(token.c.id == token_id).values(last_used_at=at).execution_options(**{UNSEEN: True})
        )
        await self._database.write(lambda connection: connection.execute(change).rowcount, progress=True)


def _token(row: Row[tuple[object, ...]]) -> Token:
    fields = dict(row._mapping)
    fields.pop("secret_hash")
    return Token(**fields)


def _load(connection: Connection) -> KnownTokens:
    by_hash = {row.secret_hash: _token(row) for row in connection.execute(sa.select(token))}
    return KnownTokens(by_hash, {each.id: each for each in by_hash.values()})
