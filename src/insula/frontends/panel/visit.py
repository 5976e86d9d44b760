"""One request of a page, what its handler answers, and how handlers register themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from litestar import Request

from insula.control.actions import Actions
from insula.control.actions.caller import Caller
from insula.frontends.panel.forms import Form, Once
from insula.frontends.panel.live import Pulse
from insula.frontends.panel.session import FLASH_COOKIE, Session, cookie
from insula.frontends.panel.tickets import Tickets

HTML = "text/html; charset=utf-8"
ROOT = "/panel"


@dataclass(frozen=True)
class Panel:
    """What every page may use. `closing` is set when the service stops: endless answers end then."""

    actions: Actions
    closing: asyncio.Event
    pulse: Pulse
    once: Once[Answer]
    tickets: Tickets


@dataclass(frozen=True)
class Visit:
    """A request, parsed. `form` is empty where nothing was sent."""

    panel: Panel
    request: Request[Any, Any, Any]
    path: Mapping[str, str]
    query: Mapping[str, str]
    form: Form

    @property
    def actions(self) -> Actions:
        return self.panel.actions

    @property
    def caller(self) -> Caller:
        """Whom the edge has let in; public pages have none."""
        found: Caller = self.request.scope["state"]["caller"]
        return found

    @property
    def session(self) -> Session | None:
        """None where nobody is signed in: on public pages, and on the service's socket."""
        found: Session | None = self.request.scope["state"].get("session")
        return found

    @property
    def is_part(self) -> bool:
        """Whether a script asks for a part of a page."""
        return self.request.headers.get("hx-request") == "true"


@dataclass(frozen=True)
class Answer:
    """An iterator is streamed."""

    content: bytes | AsyncIterator[bytes] = b""
    status: int = 200
    media: str = HTML
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: tuple[str, ...] = ()


Run = Callable[[Visit], Awaitable[Answer]]


@dataclass(frozen=True)
class Route:
    """`path` is the one below `/panel`. Who asks for a `public` one need not be known."""

    method: str
    path: str
    run: Run
    public: bool = False


ROUTES: list[Route] = []


def route(method: str, path: str, *, public: bool = False) -> Callable[[Run], Run]:
    """Make a function a page."""

    def mark(run: Run) -> Run:
        ROUTES.append(Route(method, path, run, public))
        return run

    return mark


def go_to(place: str, flash: str = "", cookies: tuple[str, ...] = ()) -> Answer:
    """See another page, which then tells `flash`."""
    told = (cookie(FLASH_COOKIE, flash[:600], max_age_s=60),) if flash else ()
    return Answer(status=303, headers={"location": place}, cookies=(*cookies, *told))


def own_place(place: str) -> str:
    """An address of this panel, or nothing: nobody is led to another site."""
    is_own = place.startswith(f"{ROOT}/") and not {"\\", "\n", "\r"} & {*place}
    return place if is_own else ""
