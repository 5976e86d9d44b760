"""Projects: which one the panel shows, and, for administrators, all there are."""

from __future__ import annotations

from insula.base.errors import InsulaError, NotFound
from insula.domain.access import Scope
from insula.domain.user import user_of
from insula.frontends.panel.render import page
from insula.frontends.panel.session import PROJECT_COOKIE, cookie
from insula.frontends.panel.view import new_once
from insula.frontends.panel.visit import ROOT, Answer, Visit, go_to, route
from insula.frontends.statuses import status_of

_HERE = f"{ROOT}/projects"


@route("GET", "/projects")
async def show(visit: Visit) -> Answer:
    """The projects to choose from."""
    return await _page(visit)


async def _page(visit: Visit, error: InsulaError | None = None) -> Answer:
    status = 200 if error is None else status_of(error)
    is_admin = visit.caller.identity.may(Scope.ADMIN)
    view = {"names": await _names(visit), "is_admin": is_admin, "error": error, "once": new_once()}
    return page(visit, "projects.html", status=status, **view)


async def _names(visit: Visit) -> tuple[str, ...]:
    """Where the caller may work."""
    if not user_of(visit.caller.identity.subject):
        return (visit.caller.project,)
    return tuple(project for project, _ in await visit.actions.users.projects_of(visit.caller))


@route("POST", "/projects")
async def make(visit: Visit) -> Answer:
    """Make one."""
    try:
        made = await visit.actions.projects.create(visit.caller, visit.form.text("name"))
    except InsulaError as error:
        return await _page(visit, error)
    return go_to(_HERE, f"The project {made.name} is there.")


@route("POST", "/projects/choose")
async def choose(visit: Visit) -> Answer:
    """Work in another one from now on."""
    name = visit.form.text("name")
    if name not in await _names(visit):
        raise NotFound(
            f"There is no project {name[:80]!r}",
            why="It does not exist, or you do not belong to it",
            todo="Choose one of the list",
            code="unknown-project",
        )
    return go_to(f"{ROOT}/", f"This is the project {name}.", (cookie(PROJECT_COOKIE, name),))


@route("POST", "/projects/delete")
async def delete(visit: Visit) -> Answer:
    """Delete one in which nothing is."""
    name = visit.form.text("name")
    try:
        visit.form.check_typed(name)
        await visit.actions.projects.delete(visit.caller, name)
    except InsulaError as error:
        return await _page(visit, error)
    return go_to(_HERE, f"The project {name} is gone.")
