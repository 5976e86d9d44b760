from __future__ import annotations

import sys

import pytest

from insula import __version__
from insula.base.errors import Conflict, InsulaError, InvalidInput, NotFound, Unavailable
from insula.cli.entry import exit_code, main


def test_version_needs_no_click(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "click", None)  # an import of it fails from here on
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"insula {__version__}\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [(InsulaError("x"), 1), (InvalidInput("x"), 2), (NotFound("x"), 3), (Conflict("x"), 4), (Unavailable("x"), 7)],
)
def test_exit_codes(error: InsulaError, code: int) -> None:
    assert exit_code(error) == code


@pytest.mark.parametrize(
    "arguments", [["no-such-command"], ["create"], ["list", "--no-such-option"], ["create", "web1", "--vcpus", "many"]]
)
def test_a_wrong_command_says_how_to_use_it(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr().err.splitlines()
    assert shown[0].startswith("error: ")
    assert "--help" in shown[-1]


def test_a_service_that_does_not_run_is_named_with_the_command_that_starts_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSULA_URL", "unix:/nonexistent/insula.sock")
    assert main(["list"]) == 7
    shown = capsys.readouterr().err
    assert "insula service start" in shown
    assert "Traceback" not in shown


def test_a_wrong_setting_is_an_error_and_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSULA_LISTEN", "nowhere")
    assert main(["list"]) == 2
    assert "INSULA_LISTEN=nowhere" in capsys.readouterr().err
