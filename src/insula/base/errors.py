"""One error tree for the whole product.

::

    InsulaError                 what happened, why, what to do; a stable code; retryable or not
    ├── InvalidInput            the request is wrong; `fields` names each wrong field
    ├── Unauthenticated         nobody we know
    ├── Forbidden               somebody we know, who may not
    ├── NotFound                no such thing, or not in this project
    ├── Conflict                the thing's state, name or a running operation forbids it
    ├── CapacityExceeded        the host (or quota) cannot hold it; the text has the numbers
    ├── RateLimited             too many requests; `retry_after_s` tells when
    ├── Cancelled               somebody cancelled the operation
    ├── Unsupported             this host, driver or image cannot do it
    ├── Unavailable             the service, the database or a node does not answer now
    ├── HostFailure             something on the host failed
    │   ├── CommandFailed       a program ended with an error; its output is kept
    │   ├── CommandMissing      a program is not installed; the text names the package
    │   ├── DiskFull            no space left
    │   └── DataCorrupt         a file is not what it should be (checksum, format, truncated)
    └── GuestFailure            the guest did not boot, answer or obey in time
        ├── GuestRefused        the guest's agent answered with an error of its own; `why` has its words
        └── ProgramFailed       a program in the guest ended with another exit code than 0; its output is kept

Every class may be serialized with :meth:`InsulaError.to_dict` and built again with :func:`from_dict`, so that an
operation keeps its error through a restart and the command line shows the very error the node raised.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class InsulaError(Exception):
    """An error that a person can act on.

    `what` is one sentence on what happened, `why` the cause with its numbers, `todo` the next thing to try. `code` is
    stable for programs (`kebab-case`); subclasses give a default that a raise may narrow.
    """

    default_code: ClassVar[str] = "internal-error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        what: str,
        *,
        why: str = "",
        todo: str = "",
        code: str = "",
        fields: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.todo = todo
        self.code = code or self.default_code
        self.fields = dict(fields or {})

    def __str__(self) -> str:
        """The three parts as one paragraph."""
        return " ".join(_sentence(part) for part in (self.what, self.why, self.todo) if part)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the inverse of :func:`from_dict`."""
        return {
            "kind": type(self).__name__,
            "code": self.code,
            "what": self.what,
            "why": self.why,
            "todo": self.todo,
            "fields": dict(self.fields),
            "retryable": self.retryable,
        }


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", ":", "`")) else f"{text}."


class InvalidInput(InsulaError):
    default_code = "invalid-input"


class Unauthenticated(InsulaError):
    default_code = "unauthenticated"


class Forbidden(InsulaError):
    default_code = "forbidden"


class NotFound(InsulaError):
    default_code = "not-found"


class Conflict(InsulaError):
    default_code = "conflict"


class CapacityExceeded(InsulaError):
    default_code = "capacity-exceeded"


class RateLimited(InsulaError):
    default_code = "rate-limited"
    retryable = True

    def __init__(self, what: str, *, retry_after_s: float = 1.0, **parts: Any) -> None:
        super().__init__(what, **parts)
        self.retry_after_s = retry_after_s


class Cancelled(InsulaError):
    default_code = "cancelled"


class Unsupported(InsulaError):
    default_code = "unsupported"


class Unavailable(InsulaError):
    default_code = "unavailable"
    retryable = True


class HostFailure(InsulaError):
    default_code = "host-failure"


class CommandFailed(HostFailure):
    default_code = "command-failed"


class CommandMissing(HostFailure):
    default_code = "command-missing"


class DiskFull(HostFailure):
    default_code = "disk-full"


class DataCorrupt(HostFailure):
    default_code = "data-corrupt"


class GuestFailure(InsulaError):
    default_code = "guest-failure"
    retryable = True


class GuestRefused(GuestFailure):
    default_code = "guest-refused"
    retryable = False


class ProgramFailed(GuestFailure):
    default_code = "program-failed"
    retryable = False

    def __init__(self, what: str, *, exit_code: int = 1, stdout: str = "", stderr: str = "", **parts: Any) -> None:
        super().__init__(what, **parts)
        self.exit_code = exit_code
        self.stdout = stdout
        self.stderr = stderr


def _tree(root: type[InsulaError]) -> dict[str, type[InsulaError]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found |= _tree(child)
    return found


def from_dict(data: Mapping[str, Any]) -> InsulaError:
    """Build the error again that :meth:`InsulaError.to_dict` described; an unknown kind becomes the root class."""
    kind = _tree(InsulaError).get(str(data.get("kind")), InsulaError)
    return kind(
        str(data.get("what", "unknown error")),
        why=str(data.get("why", "")),
        todo=str(data.get("todo", "")),
        code=str(data.get("code", "")),
        fields=data.get("fields") or {},
    )
