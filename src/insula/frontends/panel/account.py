"""One's own account: password, second factor, where one is signed in; and how the panel looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from insula.base.errors import InsulaError
from insula.domain.user import Session
from insula.frontends.panel.entry import signed_out
from insula.frontends.panel.render import page
from insula.frontends.panel.session import THEME_COOKIE, cookie
from insula.frontends.panel.view import new_once
from insula.frontends.panel.visit import ROOT, Answer, Visit, go_to, own_place, route
from insula.frontends.statuses import status_of

_HERE = f"{ROOT}/account"
_THEMES = ("light", "dark", "")


@dataclass(frozen=True)
class SignedInAt:
    """A browser in which one is signed in; `is_this` is the one that asks."""

    session: Session
    is_this: bool


@route("GET", "/account")
async def show(visit: Visit) -> Answer:
    """Everything about oneself."""
    return await _page(visit)


async def _page(visit: Visit, error: InsulaError | None = None, **extra: Any) -> Answer:
    this = visit.session.known_by if visit.session is not None else ""
    held = (await visit.actions.sessions.list(visit.caller)).items
    return page(
        visit,
        "account.html",
        status=200 if error is None else status_of(error),
        user=await visit.actions.users.me(visit.caller),
        sessions=tuple(SignedInAt(each, each.id == this) for each in held),
        error=error,
        once=new_once(),
        **{"offered": None, "codes": (), **extra},
    )


@route("POST", "/account/password")
async def change_password(visit: Visit) -> Answer:
    """Set another one; all sessions end."""
    try:
        await visit.actions.users.change_password(visit.caller, visit.form.raw("old"), visit.form.raw("new"))
    except InsulaError as error:
        return await _page(visit, error)
    return signed_out(visit, "The password is changed. Sign in with it.")


@route("POST", "/account/second-factor")
async def start_second_factor(visit: Visit) -> Answer:
    """Offer a second factor, which is asked for once its code was typed."""
    try:
        offered = await visit.actions.users.start_totp(visit.caller)
    except InsulaError as error:
        return await _page(visit, error)
    return await _page(visit, offered=offered)


@route("POST", "/account/second-factor/confirm")
async def confirm_second_factor(visit: Visit) -> Answer:
    """Ask for it from now on, and show the codes for the day on which the app is lost."""
    try:
        codes = await visit.actions.users.confirm_totp(visit.caller, visit.form.text("code"))
    except InsulaError as error:
        given = visit.form.text("secret"), visit.form.text("uri")
        return await _page(visit, error, offered=given if given[0] else None)
    return await _page(visit, codes=tuple(codes))


@route("POST", "/account/second-factor/stop")
async def stop_second_factor(visit: Visit) -> Answer:
    """Ask for it no more."""
    try:
        await visit.actions.users.stop_totp(visit.caller, visit.form.raw("password"))
    except InsulaError as error:
        return await _page(visit, error)
    return go_to(_HERE, "The second factor is off.")


@route("POST", "/account/sessions/end")
async def end_session(visit: Visit) -> Answer:
    """Sign out another browser."""
    await visit.actions.sessions.end(visit.caller, visit.form.text("session"))
    return go_to(_HERE, "That browser is signed out.")


@route("POST", "/account/sign-out-everywhere")
async def sign_out_everywhere(visit: Visit) -> Answer:
    """Sign out all of one's browsers."""
    await visit.actions.sessions.sign_out_everywhere(visit.caller)
    return signed_out(visit, "You are signed out everywhere.")


@route("POST", "/theme")
async def choose_theme(visit: Visit) -> Answer:
    """Light, dark, or as the system is."""
    theme = visit.form.text("theme")
    theme = theme if theme in _THEMES else ""
    return go_to(own_place(visit.form.text("back")) or f"{ROOT}/", cookies=(cookie(THEME_COOKIE, theme),))
