"""The users of a project: who belongs to it, and as what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from insula.base.errors import InsulaError, NotFound
from insula.control.actions.users import link_path
from insula.domain.access import Scope
from insula.domain.user import LinkKind, Member, Role
from insula.frontends.panel.nouns import Do, Done, Empty, Noun, serve
from insula.frontends.panel.render import page
from insula.frontends.panel.view import (
    Cell,
    Column,
    Deed,
    Fact,
    Field,
    Row,
    Thing,
    choices,
    code,
    filled,
    link,
    new_once,
    state,
    when,
)
from insula.frontends.panel.visit import ROOT, Answer, Visit, route
from insula.frontends.statuses import status_of

_HERE = f"{ROOT}/users"
_ROLES = Field(
    "role",
    "Role",
    "select",
    "member",
    choices([*Role]),
    hint="A reader looks only; a member does everything with what is there; an owner also decides who else may.",
)
_FIELDS = (Field("name", "Name or address for e-mail", required=True, placeholder="ada@example.org"), _ROLES)


def _state(member: Member) -> str:
    user = member.user
    return "disabled" if user.disabled else "invited" if user.pending else "active"


async def _rows(visit: Visit) -> Sequence[Row]:
    found = await visit.actions.users.list(visit.caller)
    return [
        Row(
            each.user.id,
            each.user.name,
            (
                link(each.user.name, f"{_HERE}/{each.user.name}"),
                state(_state(each)),
                Cell("everything, everywhere" if each.user.owner else each.role.value),
                Cell("yes" if each.user.totp_enabled else "no"),
                when(each.user.created_at),
            ),
        )
        for each in found.items
    ]


async def _show(visit: Visit, name: str) -> Thing:
    member = next(
        (each for each in (await visit.actions.users.list(visit.caller)).items if each.user.name == name), None
    )
    if member is None:
        raise NotFound(
            f"There is no user {name[:80]!r} here",
            why="Nobody of that name belongs to this project",
            todo="Look at the list of users",
            code="unknown-user",
        )
    return Thing(
        id=member.user.id,
        name=member.user.name,
        state=_state(member),
        facts=(
            Fact("Role here", Cell(member.role.value)),
            Fact("Owns the installation", Cell("yes" if member.user.owner else "no")),
            Fact("Second factor", Cell("yes" if member.user.totp_enabled else "no")),
            Fact("Made", when(member.user.created_at)),
            Fact("Id", code(member.user.id)),
        ),
        deeds=_deeds(visit, member),
    )


def _deeds(visit: Visit, member: Member) -> tuple[Deed, ...]:
    may, name = visit.caller.identity.may, member.user.name
    deeds: list[Deed] = []
    if may(Scope.USERS_WRITE):
        role = Field("role", "Role", "select", member.role.value, _ROLES.choices, hint=_ROLES.hint)
        deeds.append(Deed("role", "Change the role", "users", (role,)))
    if may(Scope.ADMIN):
        lost = Field("without_totp", "The second factor is lost as well: take it away", "flag")
        hint = "A link that sets another password, to be handed over by you."
        deeds.append(Deed("reset", "Reset the password", "key", (lost,), hint))
        deeds.append(
            Deed("enable", "Let in again", "user")
            if member.user.disabled
            else Deed("disable", "Keep out", "lock", (), "Signed out everywhere, and let in nowhere.", True, name)
        )
    if may(Scope.USERS_WRITE):
        hint = "Who belongs to no other project is removed altogether."
        deeds.append(Deed("remove", "Remove from the project", "trash", (), hint, True, name))
    return tuple(deeds)


async def _role(visit: Visit, name: str) -> Done:
    changed = await visit.actions.users.set_role(visit.caller, name, visit.caller.project, visit.form.text("role"))
    return Done(f"{name} is {changed.role} here now.")


async def _disable(visit: Visit, name: str) -> Done:
    visit.form.check_typed(name)
    await visit.actions.users.disable(visit.caller, name)
    return Done(f"{name} is kept out.")


async def _enable(visit: Visit, name: str) -> Done:
    await visit.actions.users.enable(visit.caller, name)
    return Done(f"{name} is let in again.")


async def _remove(visit: Visit, name: str) -> Done:
    visit.form.check_typed(name)
    await visit.actions.users.remove(visit.caller, name, visit.caller.project)
    return Done(f"{name} does not belong to this project any more.", _HERE)


_VERBS: Mapping[str, Do] = {"role": _role, "disable": _disable, "enable": _enable, "remove": _remove}


@route("POST", "/users/{name}/reset")
async def reset(visit: Visit) -> Answer:
    """Make a link that sets another password, and show it once."""
    without_totp = visit.form.flag("without_totp")
    user, secret = await visit.actions.users.reset_password(visit.caller, visit.path["name"], without_totp=without_totp)
    return _link(visit, user.name, link_path(LinkKind.RESET, secret))


@route("GET", "/users/new")
async def ask(visit: Visit) -> Answer:
    """Who shall come?"""
    return _form(visit, _FIELDS)


def _form(visit: Visit, fields: tuple[Field, ...], error: InsulaError | None = None) -> Answer:
    status = 200 if error is None else status_of(error)
    return page(visit, "form.html", status=status, noun=NOUN, fields=fields, error=error, once=new_once())


@route("POST", "/users/new")
async def invite(visit: Visit) -> Answer:
    """Invite somebody, and show the link once."""
    form = visit.form
    try:
        user, secret = await visit.actions.users.invite(visit.caller, form.text("name"), form.text("role"))
    except InsulaError as error:
        return _form(visit, tuple(filled(each, form, error) for each in _FIELDS), error)
    return _link(visit, user.name, link_path(LinkKind.INVITATION, secret))


def _link(visit: Visit, name: str, path: str) -> Answer:
    request = visit.request
    address = f"{request.scope['scheme']}://{request.headers.get('host', '')}{path}"
    return page(visit, "link_made.html", noun=NOUN, name=name, address=address)


NOUN = serve(
    Noun(
        path="/users",
        title="Users",
        one="user",
        icon="users",
        columns=(Column("Name"), Column("State"), Column("Role"), Column("Second factor"), Column("Made")),
        rows=_rows,
        empty=Empty("Nobody belongs to this project yet", "Invite somebody: they get a link that sets their password."),
        thing=_show,
        verbs=_VERBS,
        make_place=f"{_HERE}/new",
        make_label="Invite somebody",
    )
)
