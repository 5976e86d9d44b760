"""Signing in and out, and how the panel looks."""

from __future__ import annotations

from insula.base.errors import InsulaError, Unauthenticated
from insula.frontends.panel.render import page
from insula.frontends.panel.session import (
    PROJECT_COOKIE,
    THEME_COOKIE,
    check_private,
    cookie,
    is_encrypted,
    session_cookie,
)
from insula.frontends.panel.visit import ROOT, Answer, Visit, go_to, route
from insula.frontends.statuses import status_of

_DAY_S = 24 * 3600
_THEMES = ("light", "dark", "")


@route("GET", "/sign-in", public=True)
async def ask(visit: Visit) -> Answer:
    """Who is it?"""
    return _sign_in(visit, visit.query.get("back", ""))


def _sign_in(visit: Visit, back: str, error: InsulaError | None = None) -> Answer:
    status = 200 if error is None else status_of(error)
    return page(visit, "sign_in.html", status=status, back=_own(back), error=error)


@route("POST", "/sign-in", public=True)
async def sign_in(visit: Visit) -> Answer:
    """Let somebody in who has a token, and lead them where they wanted to go."""
    form, scope = visit.form, visit.request.scope
    secret, back = form.text("secret"), form.text("back")
    try:
        check_private(scope)
        await visit.actions.access.of_token(secret)
    except Unauthenticated as error:
        return _sign_in(visit, back, error)
    line = cookie(session_cookie(scope), secret, max_age_s=_DAY_S, secure=is_encrypted(scope))
    return go_to(_own(back) or f"{ROOT}/", cookies=(line, cookie(PROJECT_COOKIE, "", max_age_s=0)))


@route("POST", "/sign-out")
async def sign_out(visit: Visit) -> Answer:
    """Forget who it is, in this browser."""
    scope = visit.request.scope
    gone = cookie(session_cookie(scope), "", max_age_s=0, secure=is_encrypted(scope))
    return go_to(f"{ROOT}/sign-in", "You are signed out.", (gone,))


@route("POST", "/theme")
async def choose_theme(visit: Visit) -> Answer:
    """Light, dark, or as the system is."""
    theme = visit.form.text("theme")
    theme = theme if theme in _THEMES else ""
    return go_to(_own(visit.form.text("back")) or f"{ROOT}/", cookies=(cookie(THEME_COOKIE, theme),))


def _own(place: str) -> str:
    """An address of this panel, or nothing: nobody is led to another site."""
    is_own = place.startswith(f"{ROOT}/") and "\\" not in place and "\n" not in place and "\r" not in place
    return place if is_own else ""
