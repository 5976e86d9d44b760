"""A vendor's OpenAPI 3.0 specification as what answers are checked against."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

SPECIFICATIONS = Path(__file__).resolve().parents[3] / "shared" / "specs"

# Documented fields that answers here never have, each with its reason.
NEVER = {
    "gpu_info": "there are no GPUs",
    "filesystem_label": "file systems have none",
    "last_tagged_uri": "only when something carries the tag",
    "imgages": "a misspelling of the specification; images are told as `images`",
    "load_balancer_uids": "there are none",
    "kubernetes_ids": "there are none",
    "weekday": "daily backups have none",
    "pages": "only when there are several",
}


class Specification:
    """The documented answers of each operation, by the vendor's names of operations."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document: Any = _nullable(document)
        self._operations = {
            operation["operationId"]: (method.upper(), path, operation)
            for path, methods in self._document["paths"].items()
            for method, operation in methods.items()
            if isinstance(operation, dict) and "operationId" in operation
        }

    def knows(self, name: str) -> bool:
        return name in self._operations

    def place(self, name: str) -> tuple[str, str]:
        """Method and path."""
        method, path, _ = self._operations[name]
        return method, path

    def problems(self, name: str, status: int, body: Any) -> list[str]:
        """What an answer has that its schema does not allow."""
        schema = self._schema(name, status)
        if schema is None:
            return [] if body is None else ["there is a body, and none is documented"]
        validator = jsonschema_rs.Draft7Validator(schema | {"components": self._document["components"]})
        return [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in validator.iter_errors(body)]

    def absent(self, name: str, status: int, body: Any) -> set[str]:
        """Documented fields that an answer does not have, as `droplet.image.slug`."""
        schema = self._schema(name, status)
        return set() if schema is None else set(self._absent(schema, body, ""))

    def _absent(self, schema: Any, value: Any, place: str) -> Iterator[str]:
        if isinstance(value, list) and value:
            found = self._merged(schema, value[0])
            yield from self._absent(found.get("items", {}), value[0], place)
        if not isinstance(value, dict) or not value:
            return
        for field, inner in self._merged(schema, value).get("properties", {}).items():
            where = f"{place}.{field}" if place else field
            if field in value:
                yield from self._absent(inner, value[field], where)
            else:
                yield where

    def _merged(self, schema: Any, value: Any) -> dict[str, Any]:
        """With what it refers to, and of alternatives the one that fits."""
        schema = self._resolved(schema)
        found: dict[str, Any] = {"properties": dict(schema.get("properties", {})), "items": schema.get("items", {})}
        parts = list(schema.get("allOf", ()))
        for choice in ("anyOf", "oneOf"):
            fitting = [one for one in schema.get(choice, ()) if self._fits(one, value)]
            parts += fitting[:1]
        for part in parts:
            inner = self._merged(part, value)
            found["properties"] |= inner["properties"]
            found["items"] = found["items"] or inner["items"]
        return found

    def _fits(self, schema: Any, value: Any) -> bool:
        whole = {**schema, "components": self._document["components"]}
        return bool(jsonschema_rs.Draft7Validator(whole).is_valid(value))

    def _schema(self, name: str, status: int) -> dict[str, Any] | None:
        responses = self._operations[name][2]["responses"]
        response = self._resolved(responses[str(status)])
        content = response.get("content", {}).get("application/json")
        return None if content is None else dict(content["schema"])

    def _resolved(self, node: Any) -> Any:
        while "$ref" in node:
            found = self._document
            for part in node["$ref"].removeprefix("#/").split("/"):
                found = found[part.replace("~1", "/").replace("~0", "~")]
            node = found
        return node


def _nullable(node: Any) -> Any:
    """JSON Schema has no word `nullable`: null is a type of its own there."""
    if isinstance(node, list):
        return [_nullable(item) for item in node]
    if not isinstance(node, dict):
        return node
    found = {name: _nullable(item) for name, item in node.items() if name not in {"example", "examples"}}
    is_marked = isinstance(found.get("allOf"), list) and {"nullable": True} in [
        {name: value for name, value in part.items() if name == "nullable"} for part in node["allOf"]
    ]
    if found.pop("nullable", False) is True or is_marked:
        return {"anyOf": [{"type": "null"}, found]}
    return found


@cache
def digitalocean() -> Specification | None:
    """DigitalOcean's, if it is at hand."""
    file = SPECIFICATIONS / "digitalocean-openapi.json"
    return Specification(json.loads(file.read_text())) if file.is_file() else None
