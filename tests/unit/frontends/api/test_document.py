"""The documentation of the API and of error codes cannot drift from the code."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

import insula
from insula.base.errors import InvalidInput
from insula.frontends.api.document import api_page, errors_page
from insula.frontends.api.endpoint import ENDPOINTS
from insula.frontends.api.error_codes import error_codes
from insula.frontends.api.examples import EXAMPLES
from insula.frontends.api.openapi import document
from insula.frontends.api.parsing import parse_body
from insula.frontends.api.schemas import Wish

ROOT = Path(__file__).resolve().parents[4]
REMEDY = "run .venv/bin/python -m insula.frontends.api.document docs"


def test_the_interface_is_documented_as_it_is() -> None:
    assert (ROOT / "docs" / "api.md").read_text() == api_page(), REMEDY


def test_every_error_code_is_documented_as_it_is() -> None:
    assert (ROOT / "docs" / "errors.md").read_text() == errors_page(error_codes()), REMEDY


def test_no_error_code_of_the_sources_is_overlooked() -> None:
    sources = Path(insula.__file__).parent.rglob("*.py")
    written = {code for path in sources for code in re.findall(r"code=\"([a-z][a-z-]+)\"", path.read_text())}
    assert written - {found.code for found in error_codes()} == set()
    assert len(written) > 30


def test_every_endpoint_is_described_with_its_problems() -> None:
    paths = document()["paths"]
    for entry in ENDPOINTS:
        described = paths[entry.path][entry.method.lower()]
        assert described["summary"].endswith(".")
        assert str(entry.status) in described["responses"]
        problems = [answer for status, answer in described["responses"].items() if int(status) >= 400]
        assert problems
        assert all("application/problem+json" in answer["content"] for answer in problems)
        assert {p["name"] for p in described["parameters"] if p["in"] == "path"} == set(entry.parameters)


def test_operations_have_names_of_their_own() -> None:
    names = [operation["operationId"] for methods in document()["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("kind", EXAMPLES, ids=str)
def test_examples_fit_their_schemas(kind: type) -> None:
    encoded = msgspec.json.encode(EXAMPLES[kind])
    if isinstance(kind, type) and issubclass(kind, Wish):
        parse_body(kind, encoded)
    else:
        msgspec.json.decode(encoded, type=kind)


def test_a_wrong_example_would_be_noticed() -> None:
    kind = next(kind for kind in EXAMPLES if isinstance(kind, type) and issubclass(kind, Wish))
    with pytest.raises(InvalidInput):
        parse_body(kind, b'{"unheard-of": 1}')
