"""Endpoints of users and of where they are signed in. Signing in itself is for browsers, and not here."""

from __future__ import annotations

from insula.control.actions.users import link_path
from insula.domain.user import LinkKind, Member, Session, User, UserWithRoles
from insula.frontends.api.endpoint import Call, answer, created, endpoint, gone, page_reply, part_of
from insula.frontends.api.reply import Reply
from insula.frontends.api.schemas import Nothing, PageOf, PageQuery
from insula.frontends.api.user_schemas import (
    FirstLinkView,
    InviteUser,
    LinkView,
    ResetPassword,
    SessionQuery,
    SetRole,
)


@endpoint("POST", "/v1/first-link", action="users.first_link", gives=FirstLinkView, status=201)
async def make_first_link(call: Call[Nothing, Nothing]) -> Reply:
    """Make the link by which the first account is made; the one before ends."""
    return answer(FirstLinkView(await call.actions.users.make_first_link(call.caller)), 201)


@endpoint("GET", "/v1/users", action="users.list", asks=PageQuery, gives=PageOf[Member])
async def list_users(call: Call[Nothing, PageQuery]) -> Reply:
    """List the project's users, by name."""
    page = await call.actions.users.list(call.caller)
    return page_reply("/v1/users", call.query, part_of(page.items, call.query, lambda member: member.user.name))


@endpoint("GET", "/v1/all-users", action="users.list_all", asks=PageQuery, gives=PageOf[UserWithRoles])
async def list_all_users(call: Call[Nothing, PageQuery]) -> Reply:
    """List the users of all projects with their roles, by name."""
    page = await call.actions.users.list_all(call.caller)
    return page_reply("/v1/all-users", call.query, part_of(page.items, call.query, lambda found: found.user.name))


@endpoint("POST", "/v1/users", action="users.invite", takes=InviteUser, gives=LinkView, status=201)
async def invite_user(call: Call[InviteUser, Nothing]) -> Reply:
    """Invite somebody without an account into the project; the link ends after 7 days."""
    user, secret = await call.actions.users.invite(call.caller, call.body.name, call.body.role)
    return created(LinkView(user, link_path(LinkKind.INVITATION, secret)), f"/v1/users/{user.name}")


@endpoint("PUT", "/v1/users/{user}/role", action="users.set_role", takes=SetRole, gives=Member)
async def set_user_role(call: Call[SetRole, Nothing]) -> Reply:
    """Give a user another role in the project; an administrator also adds users of other projects so."""
    name, project = call.path["user"], call.caller.project
    return answer(await call.actions.users.set_role(call.caller, name, project, call.body.role))


@endpoint("DELETE", "/v1/users/{user}", action="users.remove", status=204)
async def remove_user(call: Call[Nothing, Nothing]) -> Reply:
    """Remove a user from the project; who belongs to no other one is removed altogether."""
    await call.actions.users.remove(call.caller, call.path["user"], call.caller.project)
    return gone()


@endpoint("POST", "/v1/users/{user}/disable", action="users.disable", gives=User)
async def disable_user(call: Call[Nothing, Nothing]) -> Reply:
    """Sign a user out everywhere and let them in nowhere."""
    return answer(await call.actions.users.disable(call.caller, call.path["user"]))


@endpoint("POST", "/v1/users/{user}/enable", action="users.enable", gives=User)
async def enable_user(call: Call[Nothing, Nothing]) -> Reply:
    """Let a disabled user in again."""
    return answer(await call.actions.users.enable(call.caller, call.path["user"]))


@endpoint(
    "POST",
    "/v1/users/{user}/reset-password",
    action="users.reset_password",
    takes=ResetPassword,
    gives=LinkView,
    status=201,
    optional_body=True,
)
async def reset_user_password(call: Call[ResetPassword, Nothing]) -> Reply:
    """Make a link by which a user sets another password; it ends after 24 hours."""
    user, secret = await call.actions.users.reset_password(
        call.caller, call.path["user"], without_totp=call.body.without_totp
    )
    return answer(LinkView(user, link_path(LinkKind.RESET, secret)), 201)


@endpoint("GET", "/v1/sessions", action="sessions.list", asks=SessionQuery, gives=PageOf[Session])
async def list_sessions(call: Call[Nothing, SessionQuery]) -> Reply:
    """List where users are signed in with a browser, the one used last first."""
    page = await call.actions.sessions.list_all(call.caller, call.query.user)
    return page_reply("/v1/sessions", call.query, part_of(page.items, call.query, lambda session: session.id))


@endpoint("DELETE", "/v1/sessions/{session}", action="sessions.end", status=204)
async def end_session(call: Call[Nothing, Nothing]) -> Reply:
    """End a session: its browser is signed out."""
    await call.actions.sessions.end_any(call.caller, call.path["session"])
    return gone()
