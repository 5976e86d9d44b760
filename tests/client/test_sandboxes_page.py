"""docs/sandboxes.md is tried line by line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from insula.client import Client

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sandboxes.md"


def test_every_line_of_the_page_works_and_nothing_is_left(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), names)
    printed = capsys.readouterr().out
    for said in (
        "Linux sandbox-",
        "$HOME is not looked at",
        "what it reads",
        "text, or bytes",
        "http://127.0.0.1:",
        "ssh -p",
    ):
        assert said in printed
    assert str([f"{number}\n" for number in range(8)]) in printed
    assert client.instances.list() == []
