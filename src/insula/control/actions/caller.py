"""Who calls an action, and the gate that every action goes through.

An action is a method marked with :func:`action`. The mark registers it in :data:`ACTIONS` and wraps it: first the
caller's scope is checked, then the method runs in the caller's project, then, when it changes something or enters a
guest, the audit log gets a line with its outcome, refusals included. There is no other place that authorizes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from insula.base.errors import Forbidden, InsulaError
from insula.control.store import AuditLine, Store
from insula.domain.access import Identity, Scope
from insula.domain.operation import Operation, Verb, done_at_once
from insula.domain.user import user_of

_P = ParamSpec("_P")
_R = TypeVar("_R")
_T = TypeVar("_T")

_TARGET_MAX_CHARS = 200


@dataclass(frozen=True)
class Caller:
    """An authenticated identity and the request it makes."""

    identity: Identity
    request_id: str

    @property
    def project(self) -> str:
        return self.identity.project


@dataclass(frozen=True)
class Page(Generic[_T]):
    """A part of a list. `next_after` is the cursor of the next part, None at the end."""

    items: tuple[_T, ...]
    next_after: str | None = None


class Audit(StrEnum):
    """When an action leaves its line in the audit log."""

    NEVER = "never"  # it only looks
    AFTER = "after"  # when it is over, whatever came of it
    ACCEPTED = "accepted"  # in the transaction of what it changes; afterwards when it was refused


@dataclass(frozen=True)
class Action:
    """One thing that may be asked."""

    name: str
    scope: Scope
    audit: Audit

    def authorize(self, caller: Caller) -> None:
        """Raise :class:`Forbidden` unless the caller holds the scope."""
        if not caller.identity.may(self.scope):
            held = ", ".join(sorted(caller.identity.scopes)) or "none"
            is_user = user_of(caller.identity.subject)
            raise Forbidden(
                f"{caller.identity.subject} may not do {self.name}",
                why=f"It needs the scope {self.scope}; held: {held}",
                todo="Ask an owner of the project for a role that has it"
                if is_user
                else "Use a token with that scope; `insula token create` makes one",
                code="missing-scope",
            )


@dataclass(frozen=True)
class OwnAction:
    """One thing that every user may ask for their own account."""

    name: str
    audit: Audit

    def authorize(self, caller: Caller) -> None:
        """Raise :class:`Forbidden` unless the caller is a user."""
        if not user_of(caller.identity.subject):
            raise Forbidden(
                f"{caller.identity.subject} may not do {self.name}",
                why="It belongs to the account of somebody who is signed in",
                todo="Sign in with a browser",
                code="not-a-user",
            )


ACTIONS: dict[str, Action] = {}
OWN_ACTIONS: dict[str, OwnAction] = {}


class HasStore(Protocol):
    """A class whose methods are actions."""

    store: Store


_S = TypeVar("_S", bound=HasStore)
_Method = Callable[Concatenate[_S, Caller, _P], Coroutine[Any, Any, _R]]


def action(name: str, scope: Scope, *, audit: Audit) -> Callable[[_Method[_S, _P, _R]], _Method[_S, _P, _R]]:
    """Make a method `(self, caller, …)` an action. Its first argument, or that one's `name`, is the audited target."""
    if name in ACTIONS:
        raise ValueError(f"action {name} is defined twice")
    ACTIONS[name] = Action(name, scope, audit)

    def mark(method: _Method[_S, _P, _R]) -> _Method[_S, _P, _R]:
        # Looked up on every call, so that the table is the truth and a test can prove that it is asked.
        return _guarded(method, lambda: ACTIONS[name])

    return mark


def own_action(name: str, *, audit: Audit) -> Callable[[_Method[_S, _P, _R]], _Method[_S, _P, _R]]:
    """Make a method `(self, caller, …)` an action on the caller's own account. What it takes may be secret, and is not
    written into the audit log."""
    OWN_ACTIONS[name] = OwnAction(name, audit)

    def mark(method: _Method[_S, _P, _R]) -> _Method[_S, _P, _R]:
        return _guarded(method, lambda: OWN_ACTIONS[name])

    return mark


def _guarded(method: _Method[_S, _P, _R], find: Callable[[], Action | OwnAction]) -> _Method[_S, _P, _R]:
    async def guarded(self: _S, caller: Caller, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        entry = find()
        outcome, result = "interrupted", None
        try:
            entry.authorize(caller)
            result = await method(self, caller, *args, **kwargs)
            outcome = "done"
            return result
        except InsulaError as error:
            outcome = f"refused: {error.code}"
            raise
        finally:
            if entry.audit is Audit.AFTER or (entry.audit is Audit.ACCEPTED and outcome != "done"):
                target = _target(result, args) if isinstance(entry, Action) else user_of(caller.identity.subject)
                await self.store.audit.append(audit_line(caller, entry.name, target, outcome))

    functools.update_wrapper(guarded, method)
    return guarded


def audit_line(caller: Caller, name: str, target: str, outcome: str) -> AuditLine:
    """A line of the audit log, with what the store adds left out."""
    return AuditLine(
        subject=caller.identity.subject,
        project=caller.project,
        action=name,
        # Whatever was typed: neither database takes all of it.
        target="".join(char for char in target if char.isprintable())[:_TARGET_MAX_CHARS],
        outcome=outcome,
        request_id=caller.request_id,
    )


async def note(
    store: Store, caller: Caller, verb: Verb, target: tuple[str, str], params: Mapping[str, Any]
) -> Operation:
    """Put a change that was made at once among the operations; `target` is an id and a name."""
    subject = caller.identity.subject
    done = done_at_once(verb, target, project=caller.project, requested_by=subject, params=params)
    return await store.operations.add(done)


def _target(result: object, args: tuple[object, ...]) -> str:
    """What an action worked on: ids where they are known, else what the caller typed."""
    if isinstance(result, Operation):
        return result.target
    known = getattr(result, "id", None)
    if isinstance(known, str):
        return known
    first = args[0] if args else ""
    named = first if isinstance(first, str) else getattr(first, "name", "")
    return named if isinstance(named, str) else ""
