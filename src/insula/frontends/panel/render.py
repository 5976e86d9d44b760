"""Pages from templates: everything that is put into one is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from math import ceil
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Request

from insula import __version__
from insula.base.clock import iso, now_utc
from insula.base.errors import InsulaError, RateLimited
from insula.control.actions.caller import Caller
from insula.domain.access import Scope
from insula.frontends.edge import Rendered
from insula.frontends.panel.assets import Assets
from insula.frontends.panel.session import FLASH_COOKIE, NOT_SIGNED_IN, THEME_COOKIE, Session, cookie, cookies_of
from insula.frontends.panel.visit import HTML, ROOT, Answer, Visit
from insula.frontends.statuses import TITLES, status_of

SECURITY_HEADERS: Mapping[str, str] = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_AGES = ((60, "s"), (60, " min"), (24, " h"), (365, " d"))
ASSETS = Assets()


@dataclass(frozen=True)
class Place:
    """An entry of the menu."""

    path: str
    title: str
    icon: str
    scope: Scope


@dataclass(frozen=True)
class Frame:
    """What every page has around it. `token` is the one that forms carry."""

    caller: Caller | None
    session: Session | None
    token: str
    theme: str
    flash: str
    path: str
    request_id: str
    version: str = ""  # of what the page shows; see :class:`insula.frontends.panel.live.Pulse`

    @property
    def places(self) -> tuple[tuple[str, tuple[Place, ...]], ...]:
        """The menu: what the caller may see, in groups."""
        if self.caller is None:
            return ()
        identity = self.caller.identity
        groups = ((title, tuple(one for one in places if identity.may(one.scope))) for title, places in MENU)
        return tuple((title, places) for title, places in groups if places)


MENU = (
    (
        "",
        (
            Place("/", "Home", "home", Scope.INSTANCES_READ),
            Place("/instances", "Instances", "server", Scope.INSTANCES_READ),
            Place("/images", "Images", "disc", Scope.IMAGES_READ),
        ),
    ),
    (
        "Storage",
        (
            Place("/volumes", "Volumes", "database", Scope.VOLUMES_READ),
            Place("/snapshots", "Snapshots", "camera", Scope.SNAPSHOTS_READ),
            Place("/backups", "Backups", "archive", Scope.BACKUPS_READ),
        ),
    ),
    (
        "Network",
        (
            Place("/networks", "Networks", "network", Scope.NETWORKS_READ),
            Place("/firewalls", "Firewalls", "shield", Scope.FIREWALLS_READ),
            Place("/addresses", "Addresses", "map-pin", Scope.NETWORKS_READ),
        ),
    ),
    (
        "Project",
        (
            Place("/operations", "Operations", "activity", Scope.OPERATIONS_READ),
            Place("/keys", "SSH keys", "key", Scope.KEYS_READ),
            Place("/tokens", "API tokens", "lock", Scope.TOKENS_WRITE),
            Place("/users", "Users", "users", Scope.USERS_READ),
            Place("/audit", "Audit log", "list", Scope.AUDIT_READ),
        ),
    ),
)


@dataclass(frozen=True)
class Problem:
    """The page that tells an error."""

    content: bytes
    status: int
    media: str = HTML


def page(visit: Visit, template: str, *, status: int = 200, **view: Any) -> Answer:
    """A page of what is in `view`."""
    frame = frame_of(visit.request, visit.panel.pulse.version())
    content = _templates.get_template(template).render(frame=frame, query=visit.query, **view).encode()
    # What is told once is told on a whole page, not in a part of one that a script asks for.
    read = (cookie(FLASH_COOKIE, "", max_age_s=0),) if frame.flash and not visit.is_part else ()
    return Answer(content, status, HTML, cookies=read)


def problem(request: Request[Any, Any, Any], error: InsulaError) -> Problem:
    """A page that says what happened, why, what to do, and by which id the log knows the request."""
    status = status_of(error)
    template = _templates.get_template("problem.html")
    content = template.render(frame=frame_of(request), query={}, error=error, title=title_of(status))
    return Problem(content.encode(), status)


def frame_of(request: Request[Any, Any, Any], version: str = "") -> Frame:
    state = request.scope["state"]
    session: Session | None = state.get("session")
    cookies = cookies_of(request.headers.get("cookie", ""))
    return Frame(
        caller=state.get("caller"),
        session=session,
        token=session.form_token if session is not None else "",
        theme=cookies.get(THEME_COOKIE, ""),
        flash=unquote(cookies.get(FLASH_COOKIE, "")),
        path=request.scope["path"].removeprefix(ROOT) or "/",
        request_id=state["request_id"],
        version=version,
    )


def render_error(error: InsulaError, request_id: str) -> Rendered:
    """An error before anything is known of the caller, or the way to the page where one signs in."""
    headers = {"content-type": HTML, **SECURITY_HEADERS}
    if error.code == NOT_SIGNED_IN:
        back = error.fields.get("back", "")
        place = f"{ROOT}/sign-in" + (f"?back={quote(back, safe='')}" if back else "")
        if error.fields.get("seen_by") == "script":
            return 401, b"", {**headers, "hx-redirect": f"{ROOT}/sign-in"}
        return 303, b"", {**headers, "location": place}
    if isinstance(error, RateLimited):
        headers["retry-after"] = str(max(1, ceil(error.retry_after_s)))
    status = status_of(error)
    frame = Frame(None, None, "", "", "", "", request_id)
    content = _templates.get_template("problem.html").render(frame=frame, query={}, error=error, title=title_of(status))
    return status, content.encode(), headers


def title_of(status: int) -> str:
    return TITLES.get(status) or HTTPStatus(status).phrase


def bytes_text(count: float | None) -> str:
    """`1.5 GiB`."""
    if count is None:
        return "—"
    size, unit = float(count), _UNITS[0]
    for unit in _UNITS:
        if abs(size) < 1024 or unit == _UNITS[-1]:
            break
        size /= 1024
    return f"{size:.0f} {unit}" if size >= 100 or unit == "B" else f"{size:.3g} {unit}"


def mib_text(count: float) -> str:
    return bytes_text(count * 1024 * 1024)


def gib_text(count: float) -> str:
    return bytes_text(count * 1024**3)


def age_text(moment: datetime) -> str:
    """`5 min ago`, or `in 5 min`."""
    seconds = (now_utc() - moment).total_seconds()
    count, unit = abs(seconds), " d"
    for length, unit in _AGES:
        if count < length or unit == " d":
            break
        count /= length
    text = f"{int(count)}{unit}"
    if abs(seconds) < 1:
        return "now"
    return f"in {text}" if seconds < 0 else f"{text} ago"


def took_text(milliseconds: float) -> str:
    """`340 ms`, `4.2 s`, `3 min 5 s`."""
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def words(name: object) -> str:
    """A name of the code as people write it."""
    return str(name).replace("_", " ").capitalize()


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "bytes": bytes_text,
        "mib": mib_text,
        "gib": gib_text,
        "ago": age_text,
        "iso": iso,
        "took": took_text,
        "words": words,
        "path": lambda text: quote(str(text), safe=""),
    }
    made.globals |= {"asset": ASSETS.address, "root": ROOT, "version": __version__}
    return made


_templates = _environment()
