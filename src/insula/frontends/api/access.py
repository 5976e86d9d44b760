"""Endpoints of keys, tokens, projects, the audit log and the caller's own identity."""

from __future__ import annotations

from insula.domain.access import AuditEntry, Project, SshKey, Token
from insula.frontends.api.access_schemas import (
    AddKey,
    AuditQuery,
    CreateProject,
    CreateToken,
    IdentityView,
    NewTokenView,
    RenameKey,
)
from insula.frontends.api.endpoint import Call, answer, created, endpoint, gone, page_reply, part_of
from insula.frontends.api.reply import Reply
from insula.frontends.api.schemas import Nothing, PageOf, PageQuery


@endpoint("GET", "/v1/identity", gives=IdentityView)
async def show_identity(call: Call[Nothing, Nothing]) -> Reply:
    """Show who the caller is."""
    identity = call.caller.identity
    return answer(IdentityView(identity.subject, identity.project, sorted(identity.scopes)))


@endpoint("GET", "/v1/keys", action="keys.list", asks=PageQuery, gives=PageOf[SshKey])
async def list_keys(call: Call[Nothing, PageQuery]) -> Reply:
    """List SSH public keys, by name."""
    page = await call.actions.keys.list(call.caller)
    return page_reply("/v1/keys", call.query, part_of(page.items, call.query, lambda key: key.id))


@endpoint("POST", "/v1/keys", action="keys.add", takes=AddKey, gives=SshKey, status=201)
async def add_key(call: Call[AddKey, Nothing]) -> Reply:
    """Store an SSH public key."""
    key = await call.actions.keys.add(call.caller, call.body.name, call.body.public_key)
    return created(key, f"/v1/keys/{key.id}")


@endpoint("GET", "/v1/keys/{key}", action="keys.show", gives=SshKey)
async def show_key(call: Call[Nothing, Nothing]) -> Reply:
    """Show an SSH public key, by name or id."""
    return answer(await call.actions.keys.show(call.caller, call.path["key"]))


@endpoint("PATCH", "/v1/keys/{key}", action="keys.rename", takes=RenameKey, gives=SshKey)
async def rename_key(call: Call[RenameKey, Nothing]) -> Reply:
    """Give an SSH public key another name."""
    return answer(await call.actions.keys.rename(call.caller, call.path["key"], call.body.name))


@endpoint("DELETE", "/v1/keys/{key}", action="keys.delete", status=204)
async def delete_key(call: Call[Nothing, Nothing]) -> Reply:
    """Delete an SSH public key; instances that got it keep it."""
    await call.actions.keys.delete(call.caller, call.path["key"])
    return gone()


@endpoint("GET", "/v1/tokens", action="tokens.list", asks=PageQuery, gives=PageOf[Token])
async def list_tokens(call: Call[Nothing, PageQuery]) -> Reply:
    """List the project's tokens, oldest first."""
    page = await call.actions.tokens.list(call.caller)
    return page_reply("/v1/tokens", call.query, part_of(page.items, call.query, lambda token: token.id))


@endpoint("POST", "/v1/tokens", action="tokens.create", takes=CreateToken, gives=NewTokenView, status=201)
async def create_token(call: Call[CreateToken, Nothing]) -> Reply:
    """Make a token; its secret is shown this once."""
    wish = call.body
    made = await call.actions.tokens.create(call.caller, wish.name, wish.scopes, wish.expires_in_days, wish.prefix)
    return created(NewTokenView(made.token, made.secret, made.key.id, made.key.secret), f"/v1/tokens/{made.token.id}")


@endpoint("DELETE", "/v1/tokens/{token}", action="tokens.revoke", status=204)
async def revoke_token(call: Call[Nothing, Nothing]) -> Reply:
    """Revoke a token: from now on it is refused."""
    await call.actions.tokens.revoke(call.caller, call.path["token"])
    return gone()


@endpoint("GET", "/v1/projects", action="projects.list", asks=PageQuery, gives=PageOf[Project])
async def list_projects(call: Call[Nothing, PageQuery]) -> Reply:
    """List projects, by name."""
    page = await call.actions.projects.list(call.caller)
    return page_reply("/v1/projects", call.query, part_of(page.items, call.query, lambda project: project.name))


@endpoint("POST", "/v1/projects", action="projects.create", takes=CreateProject, gives=Project, status=201)
async def create_project(call: Call[CreateProject, Nothing]) -> Reply:
    """Make a project."""
    project = await call.actions.projects.create(call.caller, call.body.name)
    return created(project, f"/v1/projects/{project.name}")


@endpoint("DELETE", "/v1/projects/{project}", action="projects.delete", status=204)
async def delete_project(call: Call[Nothing, Nothing]) -> Reply:
    """Delete a project without instances, with its keys, its tokens, and the users who belong to no other."""
    await call.actions.projects.delete(call.caller, call.path["project"])
    return gone()


@endpoint("GET", "/v1/audit", action="audit.list", asks=AuditQuery, gives=PageOf[AuditEntry])
async def list_audit(call: Call[Nothing, AuditQuery]) -> Reply:
    """Read the project's audit log, newest first."""
    page = await call.actions.audit.list(call.caller, call.query.after, call.query.limit)
    return page_reply("/v1/audit", call.query, page)
