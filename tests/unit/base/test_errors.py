from __future__ import annotations

import pytest

from insula.base import errors
from insula.base.errors import CapacityExceeded, InsulaError, InvalidInput, RateLimited, from_dict


def _classes(root: type[InsulaError] = InsulaError) -> list[type[InsulaError]]:
    return [root] + [found for child in root.__subclasses__() for found in _classes(child)]


@pytest.mark.parametrize("kind", _classes(), ids=lambda kind: kind.__name__)
def test_an_error_survives_storage(kind: type[InsulaError]) -> None:
    error = kind("It broke", why="Because", todo="Mend it", code="special", fields={"name": "bad"})
    again = from_dict(error.to_dict())
    assert type(again) is kind
    assert again.to_dict() == error.to_dict()


def test_an_unknown_kind_still_tells_what_happened() -> None:
    again = from_dict({"kind": "FromTheFuture", "what": "New trouble", "code": "new"})
    assert type(again) is InsulaError
    assert (again.what, again.code) == ("New trouble", "new")


def test_the_text_holds_all_three_parts_as_sentences() -> None:
    error = CapacityExceeded("No room", why="5 GiB wanted, 3 GiB left.", todo="Delete something")
    assert str(error) == "No room. 5 GiB wanted, 3 GiB left. Delete something."


def test_codes_are_unique_and_the_docstring_draws_every_class() -> None:
    codes = [kind.default_code for kind in _classes()]
    assert len(set(codes)) == len(codes)
    assert all(kind.__name__ in (errors.__doc__ or "") for kind in _classes())


def test_retryable_is_told_by_the_class() -> None:
    assert RateLimited("Slow down").to_dict()["retryable"] is True
    assert InvalidInput("No").to_dict()["retryable"] is False
