"""Coming in: signing in and out, the installation's first account, and invitations."""

from __future__ import annotations

from insula.base.errors import InsulaError, Unauthenticated
from insula.control.actions.sessions import END
from insula.frontends.panel.render import page
from insula.frontends.panel.session import PROJECT_COOKIE, check_private, cookie, is_encrypted, session_cookie
from insula.frontends.panel.visit import ROOT, Answer, Visit, go_to, own_place, route
from insula.frontends.statuses import status_of


@route("GET", "/sign-in", public=True)
async def ask(visit: Visit) -> Answer:
    """Who is it?"""
    return _sign_in(visit, own_place(visit.query.get("back", "")))


def _sign_in(visit: Visit, back: str, error: InsulaError | None = None) -> Answer:
    status = 200 if error is None else status_of(error)
    # Only who has a second factor, and had the right password, is asked for a code.
    asks_code = error is not None and error.code in {"code-needed", "wrong-code"}
    view = {"back": back, "name": visit.form.text("name"), "error": error, "asks_code": asks_code}
    return page(visit, "sign_in.html", status=status, **view)


@route("POST", "/sign-in", public=True)
async def sign_in(visit: Visit) -> Answer:
    """Let somebody in, and lead them where they wanted to go."""
    form = visit.form
    back = own_place(form.text("back"))
    try:
        return await _enter(visit, form.text("name"), form.raw("password"), form.text("code"), back)
    except InsulaError as error:
        return _sign_in(visit, back, error)


async def _enter(visit: Visit, name: str, password: str, code: str = "", back: str = "") -> Answer:
    scope = visit.request.scope
    check_private(scope)
    client = scope.get("client")
    made = await visit.actions.sessions.sign_in(
        name,
        password,
        code,
        client=client[0] if client else "",
        agent=visit.request.headers.get("user-agent", ""),
    )
    lasts_s = int(END.total_seconds())
    line = cookie(session_cookie(scope), made.secret, max_age_s=lasts_s, secure=is_encrypted(scope))
    return go_to(back or f"{ROOT}/", cookies=(line, cookie(PROJECT_COOKIE, "", max_age_s=0)))


@route("POST", "/sign-out")
async def sign_out(visit: Visit) -> Answer:
    """End this session."""
    if visit.session is not None:
        await visit.actions.sessions.sign_out(visit.session.secret)
    return signed_out(visit, "You are signed out.")


def signed_out(visit: Visit, text: str) -> Answer:
    """The way back to the door."""
    scope = visit.request.scope
    gone = cookie(session_cookie(scope), "", max_age_s=0, secure=is_encrypted(scope))
    return go_to(f"{ROOT}/sign-in", text, (gone,))


@route("GET", "/first", public=True)
async def ask_first(visit: Visit) -> Answer:
    """How shall the owner be called?"""
    return _first(visit, visit.query.get("key", ""))


def _first(visit: Visit, key: str, error: InsulaError | None = None) -> Answer:
    status = 200 if error is None else status_of(error)
    view = {"key": key, "name": visit.form.text("name"), "error": error}
    return page(visit, "first.html", status=status, **view)


@route("POST", "/first", public=True)
async def make_owner(visit: Visit) -> Answer:
    """Make the installation's owner, who is signed in then."""
    form = visit.form
    name, password = form.text("name"), form.raw("password")
    try:
        check_private(visit.request.scope)
        await visit.actions.users.make_owner(form.text("key"), name, password)
    except InsulaError as error:
        return _first(visit, form.text("key"), error)
    return await _enter(visit, name, password)


@route("GET", "/invitation", public=True)
async def ask_password(visit: Visit) -> Answer:
    """Which password shall it be?"""
    return _invitation(visit, visit.query.get("key", ""))


def _invitation(visit: Visit, key: str, error: InsulaError | None = None) -> Answer:
    status = 200 if error is None else status_of(error)
    return page(visit, "invitation.html", status=status, key=key, error=error)


@route("POST", "/invitation", public=True)
async def accept(visit: Visit) -> Answer:
    """Set the password of whoever the link was made for."""
    form = visit.form
    password = form.raw("password")
    try:
        check_private(visit.request.scope)
        user = await visit.actions.users.accept_invitation(form.text("key"), password)
    except InsulaError as error:
        return _invitation(visit, form.text("key"), error)
    try:
        return await _enter(visit, user.name, password)
    except Unauthenticated:  # there is a second factor, which a new password does not stand for
        return go_to(f"{ROOT}/sign-in", "The password is set. Sign in with it.")
