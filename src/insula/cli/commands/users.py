"""user: list, invite, set-role, remove, disable, enable, reset-password, first-link, sessions, end."""

from __future__ import annotations

import click

from insula.cli.commands.power import confirm, yes_option
from insula.cli.output import ago, json_option, print_json, print_table, say
from insula.cli.session import Session
from insula.domain.user import Role, User

_role_option = click.option(
    "--role",
    required=True,
    type=click.Choice([role.value for role in Role]),
    help="owner decides over tokens and users, member does all the rest, reader looks only.",
)


@click.group()
def user() -> None:
    """Users: who may sign in with a browser, and what they are to projects."""


@user.command("list")
@click.option("--all", "everybody", is_flag=True, help="Users of all projects, with their roles.")
@json_option
@click.pass_obj
def list_(session: Session, everybody: bool, as_json: bool) -> None:
    """List the project's users."""
    if everybody:
        _list_all(session, as_json)
        return
    found = session.client.users.list()
    if as_json:
        print_json(found)
        return
    rows = [
        (
            each.user.name,
            each.role,
            _state(each.user),
            "on" if each.user.totp_enabled else "off",
            ago(each.user.created_at),
        )
        for each in found
    ]
    head = ("NAME", "ROLE", "STATE", "SECOND FACTOR", "MADE")
    print_table(head, rows, empty="There is no user. Invite one: insula user invite NAME --role member")


def _list_all(session: Session, as_json: bool) -> None:
    found = session.client.users.list_all()
    if as_json:
        print_json(found)
        return
    rows = [
        (each.user.name, _state(each.user), ", ".join(f"{held.project}: {held.role}" for held in each.roles))
        for each in found
    ]
    print_table(("NAME", "STATE", "ROLES"), rows, empty="There is no user. Invite one: insula user invite NAME")


def _state(found: User) -> str:
    if found.disabled:
        return "disabled"
    return "invited" if found.pending else "ok"


@user.command()
@click.argument("name")
@_role_option
@json_option
@click.pass_obj
def invite(session: Session, name: str, role: str, as_json: bool) -> None:
    """Invite somebody into the project. Prints the link, good for 7 days and once, where they set their password.

    Run it again for a new link, when the first one was lost.
    """
    made = session.client.users.invite(name, Role(role))
    _print_link(session, made.path, as_json)
    if not as_json:
        say(f"Send this to {made.user.name} in a way that nobody else reads; it ends after 7 days")


@user.command("set-role")
@click.argument("name")
@_role_option
@click.pass_obj
def set_role(session: Session, name: str, role: str) -> None:
    """Give a user another role in the project; an administrator also adds users of other projects so."""
    made = session.client.users.set_role(name, Role(role))
    say(f"{made.user.name} is now {made.role}")


@user.command()
@click.argument("name")
@yes_option
@click.pass_obj
def remove(session: Session, name: str, yes: bool) -> None:
    """Remove a user from the project; who belongs to no other one is removed altogether. Tokens stay."""
    confirm(f"Remove {name} from the project?", yes)
    session.client.users.remove(name)
    say(f"{name} is removed. Tokens stay: insula token list")


@user.command()
@click.argument("name")
@click.pass_obj
def disable(session: Session, name: str) -> None:
    """Sign a user out everywhere and let them in nowhere."""
    session.client.users.disable(name)
    say(f"{name} is disabled. Tokens stay: insula token list")


@user.command()
@click.argument("name")
@click.pass_obj
def enable(session: Session, name: str) -> None:
    """Let a disabled user in again."""
    session.client.users.enable(name)
    say(f"{name} may sign in again")


@user.command("reset-password")
@click.argument("name")
@click.option("--without-totp", is_flag=True, help="Take the second factor away as well.")
@json_option
@click.pass_obj
def reset_password(session: Session, name: str, without_totp: bool, as_json: bool) -> None:
    """Print a link, good for 24 hours and once, where a user sets another password."""
    _print_link(session, session.client.users.reset_password(name, without_totp=without_totp).path, as_json)


@user.command("first-link")
@json_option
@click.pass_obj
def first_link(session: Session, as_json: bool) -> None:
    """Print a link, good for 24 hours and once, where the first account is made, which may do everything."""
    _print_link(session, session.client.users.first_link(), as_json)


@user.command()
@click.argument("name", default="")
@json_option
@click.pass_obj
def sessions(session: Session, name: str, as_json: bool) -> None:
    """List where a user is signed in, or everybody."""
    found = session.client.users.sessions(name)
    if as_json:
        print_json(found)
        return
    rows = [
        (each.user, each.id, each.address, ago(each.created_at), ago(each.last_seen_at), each.agent[:60])
        for each in found
    ]
    head = ("USER", "ID", "ADDRESS", "SIGNED IN", "SEEN", "BROWSER")
    print_table(head, rows, empty="Nobody is signed in.")


@user.command()
@click.argument("session_id", metavar="SESSION")
@click.pass_obj
def end(session: Session, session_id: str) -> None:
    """End a session: its browser is signed out."""
    session.client.users.end_session(session_id)
    say(f"Session {session_id} has ended")


def _print_link(session: Session, path: str, as_json: bool) -> None:
    link = session.web_url + path
    if as_json:
        print_json({"link": link})
    else:
        click.echo(link)
