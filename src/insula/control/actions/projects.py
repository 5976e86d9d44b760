"""Projects: tenants. Administrators only."""

from __future__ import annotations

from insula.base.clock import now_utc
from insula.base.errors import Conflict
from insula.control.actions.access import Access
from insula.control.actions.caller import Audit, Caller, Page, action
from insula.control.store import Store
from insula.domain.access import DEFAULT_PROJECT, Project, Scope
from insula.domain.names import check_name


class ProjectActions:
    def __init__(self, store: Store, access: Access) -> None:
        self.store = store
        self._access = access

    @action("projects.list", Scope.ADMIN, audit=Audit.NEVER)
    async def list(self, caller: Caller) -> Page[Project]:
        return Page(tuple(await self.store.projects.list()))

    @action("projects.create", Scope.ADMIN, audit=Audit.AFTER)
    async def create(self, caller: Caller, name: str) -> Project:
        return await self.store.projects.create(Project(check_name(name), now_utc()))

    @action("projects.delete", Scope.ADMIN, audit=Audit.AFTER)
    async def delete(self, caller: Caller, name: str) -> None:
        """With its keys, its tokens, and the users who belong to no other. Raises Conflict while it has instances."""
        if name == DEFAULT_PROJECT:
            raise Conflict(
                f"The project {DEFAULT_PROJECT} cannot be deleted",
                why="Everything that names no project works in it",
                todo="Delete what is in it instead",
                code="default-project",
            )
        await self.store.projects.get(name)
        await self.store.projects.delete(name)
        self._access.forget_project(name)
