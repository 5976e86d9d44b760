"""token: create, list, revoke."""

from __future__ import annotations

import click

from insula.cli.output import ago, json_option, print_json, print_table, say
from insula.cli.session import Session
from insula.domain.access import Scope


@click.group()
def token() -> None:
    """Tokens for the API over TCP."""


@token.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="What it may do; repeat. All but admin and backups:key otherwise.",
)
@click.option("--expires-in-days", type=float, metavar="DAYS", help="When it ends; never otherwise.")
@json_option
@click.pass_obj
def create(session: Session, name: str, scopes: tuple[str, ...], expires_in_days: float | None, as_json: bool) -> None:
    """Make a token. Its secret is printed this once and kept nowhere."""
    wanted = scopes or tuple(scope for scope in Scope if scope not in (Scope.ADMIN, Scope.BACKUPS_KEY))
    made = session.client.tokens.create(name, wanted, expires_in_days=expires_in_days)
    if as_json:
        print_json(made)
        return
    click.echo(made.secret)
    say("Keep it safe: it is not shown again. Use it like: export INSULA_TOKEN=… INSULA_URL=http://127.0.0.1:7780")


@token.command("list")
@json_option
@click.pass_obj
def list_(session: Session, as_json: bool) -> None:
    """List tokens."""
    found = session.client.tokens.list()
    if as_json:
        print_json(found)
        return
    rows = [
        (
            each.name,
            each.id,
            "revoked" if each.revoked else "valid",
            ago(each.last_used_at) or "never",
            each.expires_at.date().isoformat() if each.expires_at else "never",
            ", ".join(sorted(each.scopes)),
        )
        for each in found
    ]
    head = ("NAME", "ID", "STATE", "USED", "EXPIRES", "SCOPES")
    print_table(head, rows, empty="There is no token. Make one: insula token create NAME")


@token.command()
@click.argument("token_id", metavar="TOKEN")
@click.pass_obj
def revoke(session: Session, token_id: str) -> None:
    """Revoke a token, by id or name: from now on the service refuses it."""
    named = [each.id for each in session.client.tokens.list() if each.name == token_id and not each.revoked]
    for each in named or [token_id]:
        session.client.tokens.revoke(each)
    say(f"Token {token_id} is revoked")
