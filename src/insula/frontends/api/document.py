"""Writes docs/api.md and docs/errors.md: `python -m insula.frontends.api.document docs`. A test keeps them current."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from insula.control.actions.caller import ACTIONS
from insula.frontends.api import app
from insula.frontends.api.endpoint import ENDPOINTS, PUBLIC_PATHS, Endpoint
from insula.frontends.api.error_codes import ErrorCode, error_codes
from insula.frontends.api.examples import EXAMPLES
from insula.frontends.api.guest import CONSOLE_ACTION, CONSOLE_PATH
from insula.frontends.api.openapi import document, statuses_of
from insula.frontends.statuses import STATUS_OF, STATUS_OF_CODE

_API_HEAD = """# The REST interface `/v1`

<!-- Made by `python -m insula.frontends.api.document docs`; do not edit. -->

Everything that `insula` does goes through this interface. The service describes it itself, as OpenAPI 3.1, at
`/v1/openapi.json`.

- **Who you are.** On the Unix socket `run/insula.sock` in INSULA_HOME the kernel tells: root and the user who runs the
  service are administrators. Over TCP send `Authorization: Bearer insula_…`; `insula token create` makes a token.
- **Where you are.** `Insula-Project: name` chooses the project; without it, it is the token's own, or `default`.
- **Lists** come in parts: `limit` (at most 500) and `after`; `next` is the way to the next part, null at the end.
- **Lasting work** answers 202 with an operation and its place in `Location`. Follow its progress as server-sent events
  at `/v1/operations/{operation}/events`; after a broken connection send `Last-Event-ID` to go on; the last event is
  named `end`.
- **Errors** are problems (RFC 9457, `application/problem+json`): `what`, `why` and `todo` for people, `code` for
  programs, `errors` names every wrong field. All codes: [errors.md](errors.md).
- **Limits.** INSULA_RATE_LIMIT requests a minute and token; `RateLimit-Limit`, `-Remaining` and `-Reset` tell what is
  left, 429 comes with `Retry-After`. The Unix socket has no limit. A JSON body has at most 2 MiB, a file 4 GiB.
- **Requests have names.** `X-Request-Id` of yours, or one of ours, is in every answer, in the log and in the audit log.
- `GET` answers `HEAD`; `OPTIONS` tells the methods; lists of instances carry an `ETag` for `If-None-Match`.

## From Python

```python
from insula import Client

with Client("http://127.0.0.1:7780", token="insula_…") as client:
    operation = client.instances.create("web1", ssh_keys=["laptop"])
    client.operations.wait(operation.id)
    print(client.guest.execute("web1", ["id"]).stdout)
```
"""

_ERRORS_HEAD = """# Error codes

<!-- Made by `python -m insula.frontends.api.document docs`; do not edit. -->

Every error says what happened, why, and what to do; its `code` is stable. `…` stands for what differs each time. Errors
marked *again* may go away when the same request is sent again.

| code | status | kind | what happened |
|---|---|---|---|
"""


def api_page() -> str:
    """docs/api.md."""
    described = document()
    parts = [_API_HEAD]
    section = ""
    for entry in sorted(ENDPOINTS, key=lambda found: (found.path.split("/")[2], found.path, found.method)):
        tag = entry.path.split("/")[2].removesuffix(".json")
        if tag != section:
            section = tag
            parts.append(f"## {section}\n")
        parts.append(_endpoint(entry, described["paths"][entry.path][entry.method.lower()], described))
        if entry.path.endswith("/console/log"):
            parts.append(_console())
    return "\n".join(parts)


def _endpoint(entry: Endpoint, operation: Mapping[str, Any], described: Mapping[str, Any]) -> str:
    lines = [f"### `{entry.method} {entry.path}`\n", f"{entry.summary} {_needs(entry)}\n"]
    if asked := [p for p in operation["parameters"] if p["in"] == "query"]:
        lines.append("Query: " + "; ".join(f"`{p['name']}`{_rule(p)}" for p in asked) + ".\n")
    if entry.takes is not None:
        schema = described["components"]["schemas"][entry.takes.__name__]
        lines.append(_fields(schema, optional=entry.optional_body))
    if entry.takes in EXAMPLES:
        lines.append(_json(EXAMPLES[entry.takes]))
    if entry.uploads:
        lines.append("Body: the file's bytes.\n")
    problems = ", ".join(str(status) for status in statuses_of(entry))
    given = f" `{entry.media}`" if entry.media != "application/json" else ""
    lines.append(f"Answers {entry.status}{given}; problems: {problems}.\n")
    return "\n".join(lines)


def _needs(entry: Endpoint) -> str:
    if entry.path in PUBLIC_PATHS:
        return "Needs no token."
    return f"Needs `{ACTIONS[entry.action].scope}`." if entry.action else "Needs any token."


def _rule(parameter: Mapping[str, Any]) -> str:
    schema = parameter["schema"]
    if "enum" in schema:
        return f" ({', '.join(schema['enum'])})"
    told = [f"{schema['minimum']} to {schema['maximum']}"] if "maximum" in schema else []
    told += [f"default {schema['default']}"] if schema.get("default") not in (None, "") else []
    told += ["required"] if parameter["required"] else []
    return f" ({', '.join(told)})" if told else ""


def _fields(schema: Mapping[str, Any], *, optional: bool) -> str:
    required = schema.get("required", [])
    named = [f"`{name}`" + (" (required)" if name in required else "") for name in schema["properties"]]
    return f"Body{' (may be left out)' if optional else ''}: {', '.join(named)}.\n"


def _json(value: Any) -> str:
    shown = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return f"```json\n{shown}\n```\n"


def _console() -> str:
    scope = ACTIONS[CONSOLE_ACTION].scope
    return (
        f"### `GET {CONSOLE_PATH}`\n\nAttach to the serial console: a WebSocket (RFC 6455) of binary messages, both "
        f"ways. Needs `{scope}`.\n"
    )


def errors_page(codes: Sequence[ErrorCode]) -> str:
    """docs/errors.md."""
    rows = [_row(code) for code in codes]
    return _ERRORS_HEAD + "\n".join(rows) + "\n"


def _row(code: ErrorCode) -> str:
    status = STATUS_OF_CODE.get(code.code) or next(STATUS_OF[kind] for kind in code.kind.__mro__ if kind in STATUS_OF)
    again = " (*again*)" if code.kind.retryable else ""
    what = (code.what or (code.kind.__doc__ or "")).replace("|", "\\|")
    return f"| `{code.code}` | {status} | {code.kind.__name__}{again} | {what} |"


def main(folder: Path) -> None:
    """Write both pages."""
    assert app.ENDPOINT_MODULES  # noqa: S101 - its import has registered every endpoint
    (folder / "api.md").write_text(api_page())
    (folder / "errors.md").write_text(errors_page(error_codes()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
