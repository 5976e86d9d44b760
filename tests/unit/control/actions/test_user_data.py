"""User-data: what cloud-init can read passes unchanged; the rest is told with its line."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.base.errors import InvalidInput
from insula.control.actions.user_data import MAX_BYTES, check_user_data


@pytest.mark.parametrize(
    "text",
    ["", "\n", "#cloud-config\n", "#cloud-config\npackages: [nginx]\n", "#!/bin/sh\n: [\n", "#include\nhttps://x\n"],
)
def test_usable(text: str) -> None:
    assert check_user_data(text) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("packages: [nginx]\n", "line 1"),
        ("#cloud-config\na: b\nc: [d\ne: f\n", "line 4"),
        ("#cloud-config\n- a\n", "this is a list"),
        ("#cloud-config\nword\n", "a single value"),
        ("#cloud-config\na: 2026-99-99\n", "no YAML"),
        ("#cloud-config\na: !!python/object:os.system x\n", "line 2"),
        ("#!/bin/sh\n\x00", "zero byte"),
        ("#cloud-config\n" + "[" * 5000, "too deeply nested"),
        ("#!" + "x" * MAX_BYTES, "at most 65536"),
        ("#!" + "é" * (MAX_BYTES // 2), "at most 65536"),
    ],
)
def test_unusable(text: str, told: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_user_data(text)
    assert told in caught.value.fields["user_data"]
    assert caught.value.code == "invalid-user-data"


@given(st.text(max_size=300))
def test_no_text_breaks_it(text: str) -> None:
    whole = f"#cloud-config\n{text}"
    with contextlib.suppress(InvalidInput):
        assert check_user_data(whole) == whole
