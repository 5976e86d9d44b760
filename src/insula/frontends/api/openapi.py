"""The OpenAPI 3.1 description, made from the table of endpoints and the schemas; nothing is written by hand twice."""

from __future__ import annotations

import http
from collections.abc import Mapping
from typing import Any, get_type_hints

import msgspec

import insula
from insula.control.actions.caller import ACTIONS
from insula.frontends.api.endpoint import ENDPOINTS, MAX_BODY_BYTES, Endpoint
from insula.frontends.api.examples import EXAMPLES
from insula.frontends.api.guest import CONSOLE_ACTION, CONSOLE_PATH
from insula.frontends.api.problems import MEDIA_TYPE, Problem
from insula.frontends.api.reply import JSON, OCTETS
from insula.frontends.api.schemas import Nothing
from insula.frontends.statuses import TITLES

_PARAMETERS: Mapping[str, str] = {
    "instance": "Name or id of an instance",
    "image": "NAME, NAME@VERSION or id of an image",
    "volume": "Name or id of a volume",
    "snapshot": "Name or id of a snapshot",
    "backup": "Name or id of a backup",
    "store": "Name or id of a backup store",
    "firewall": "Name or id of a firewall",
    "rule": "Id or position of a rule",
    "network": "Name or id of a network",
    "address": "A reserved address, or its id",
    "pool": "Name or id of a pool of addresses",
    "host_port": "A port of the host",
    "key": "Name or id of a key",
    "token": "Id of a token",
    "user": "Name of a user",
    "session": "Id of a session",
    "project": "Name of a project",
    "operation": "Id of an operation",
}
_ABOUT = (
    "Virtual machines on your own host. Every request names who it is from: over TCP `Authorization: Bearer <token>`, "
    "on the Unix socket the kernel tells. `Insula-Project` chooses the project. Durable work answers 202 with an "
    "operation, whose events can be followed. Every error is a problem (RFC 9457)."
)


def describe() -> bytes:
    """The whole document as JSON."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=1)


def document() -> dict[str, Any]:
    """The whole document."""
    types = {entry.takes for entry in ENDPOINTS if entry.takes} | {Problem}
    given = [entry.gives for entry in ENDPOINTS if entry.gives is not None]
    schemas, components = msgspec.json.schema_components([*types, *given], ref_template="#/components/schemas/{name}")
    by_type = {repr(kind): schema for kind, schema in zip([*types, *given], schemas, strict=True)}
    paths: dict[str, Any] = {}
    for entry in sorted(ENDPOINTS, key=lambda entry: (entry.path, entry.method)):
        paths.setdefault(entry.path, {})[entry.method.lower()] = _operation(entry, by_type)
    paths[CONSOLE_PATH] = {"get": _console()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Insula", "version": insula.__version__, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A token made by POST /v1/tokens"}
            },
        },
    }


def operation_name(entry: Endpoint) -> str:
    """A stable name for generated clients."""
    return entry.run.__name__


def _operation(entry: Endpoint, schemas: Mapping[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation_name(entry),
        "summary": entry.summary,
        "tags": [entry.path.split("/")[2]],
        "parameters": [*_path_parameters(entry), *_query_parameters(entry), *_header_parameters(entry)],
        "responses": _responses(entry, schemas),
    }
    if entry.action:
        described["description"] = f"Needs the scope `{ACTIONS[entry.action].scope}`."
    if entry.public:
        described["security"] = []
    if entry.takes is not None:
        media: dict[str, Any] = {"schema": schemas[repr(entry.takes)]}
        if entry.takes in EXAMPLES:
            media["example"] = msgspec.to_builtins(EXAMPLES[entry.takes])
        described["requestBody"] = {"required": not entry.optional_body, "content": {JSON: media}}
    elif entry.uploads:
        # No body is an empty file's content.
        described["requestBody"] = {"required": False, "content": {OCTETS: {"schema": {}}}}
    return described


def _path_parameters(entry: Endpoint) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PARAMETERS[name],
            "schema": {"type": "string", "minLength": 1, "maxLength": 63},
        }
        for name in entry.parameters
    ]


def _query_parameters(entry: Endpoint) -> list[dict[str, Any]]:
    if entry.asks is Nothing:
        return []
    (schema,), components = msgspec.json.schema_components([entry.asks], ref_template="{name}")
    own = components[schema["$ref"]]
    hints = get_type_hints(entry.asks)
    return [
        {
            "name": name,
            "in": "query",
            "required": name in own.get("required", ()),
            "description": described.get("description", name),
            "schema": _inlined(described, components),
        }
        for name, described in own["properties"].items()
        if name in hints
    ]


def _inlined(schema: Mapping[str, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    """A query parameter's schema without references and without null, which a query cannot say."""
    if "$ref" in schema:
        return dict(components[schema["$ref"]])
    if "anyOf" in schema:
        possible = [part for part in schema["anyOf"] if part.get("type") != "null"]
        return _inlined(possible[0], components)
    return {name: value for name, value in schema.items() if name != "description"}


def _header_parameters(entry: Endpoint) -> list[dict[str, Any]]:
    parameters = []
    if not entry.public:
        parameters.append(
            {
                "name": "Insula-Project",
                "in": "header",
                "required": False,
                "description": "The project to work in; the token's own when left out",
                "schema": {"type": "string", "pattern": "^[a-z0-9-]{1,63}$"},
            }
        )
    if entry.media == "text/event-stream":
        parameters.append(
            {
                "name": "Last-Event-ID",
                "in": "header",
                "required": False,
                "description": "Go on after the event with this id",
                "schema": {"type": "string", "pattern": "^[0-9]{1,15}$"},
            }
        )
    return parameters


def _responses(entry: Endpoint, schemas: Mapping[str, Any]) -> dict[str, Any]:
    success: dict[str, Any] = {"description": http.HTTPStatus(entry.status).phrase, "headers": _headers(entry)}
    if entry.gives is not None:
        media: dict[str, Any] = {"schema": schemas[repr(entry.gives)]}
        if entry.gives in EXAMPLES:
            media["example"] = msgspec.to_builtins(EXAMPLES[entry.gives])
        success["content"] = {entry.media: media}
    elif entry.status != http.HTTPStatus.NO_CONTENT:
        success["content"] = {entry.media: {"schema": {}}}  # bytes, or a stream of events
    responses = {str(entry.status): success}
    if entry.action == "instances.list":
        responses["304"] = {"description": "Nothing has changed since that ETag", "headers": _headers(entry)}
    return responses | {str(status): _problem(status) for status in statuses_of(entry)}


def statuses_of(entry: Endpoint) -> list[int]:
    """The problems an endpoint may answer with."""
    found = {400, 406, 422, 500, 503}
    if not entry.public:
        found |= {401, 403, 404, 429}
    if entry.path == "/v1/ca":
        found |= {404}  # nothing is served over HTTPS
    if entry.takes is not None:
        found |= {413, 415}
    if entry.uploads:
        found |= {413}
    if entry.method != "GET" or entry.path.startswith(("/v1/instances/{instance}", "/v1/backups/{backup}/")):
        found |= {409, 507}
    if entry.action.startswith("guest."):
        found |= {504}
    return sorted(found)


def _headers(entry: Endpoint) -> dict[str, Any]:
    text = {"schema": {"type": "string"}}
    headers: dict[str, Any] = {"X-Request-Id": {"description": "Names this request in the service's log", **text}}
    if entry.status in (201, 202):
        headers["Location"] = {"description": "Where to look at what was made or begun", **text}
    return headers


def _problem(status: int) -> dict[str, Any]:
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    described: dict[str, Any] = {"description": TITLES[status], "content": content}
    number = {"schema": {"type": "integer"}}
    if status == http.HTTPStatus.TOO_MANY_REQUESTS:
        described["headers"] = {"Retry-After": {"description": "Seconds to wait", **number}}
    if status == http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        described["description"] += f" (over {MAX_BODY_BYTES} bytes of JSON)"
    return described


def _console() -> dict[str, Any]:
    return {
        "operationId": "attach_console",
        "summary": "Attach to the serial console: a WebSocket of binary messages, both ways.",
        "description": f"Needs the scope `{ACTIONS[CONSOLE_ACTION].scope}` and a WebSocket upgrade (RFC 6455).",
        "tags": ["instances"],
        "parameters": [
            {
                "name": "instance",
                "in": "path",
                "required": True,
                "description": _PARAMETERS["instance"],
                "schema": {"type": "string", "minLength": 1, "maxLength": 63},
            }
        ],
        "responses": {
            "101": {"description": "The console is open"},
            **{str(status): _problem(status) for status in (400, 401, 403, 404, 405, 409, 422, 429, 500, 503)},
        },
    }
