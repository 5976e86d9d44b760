from __future__ import annotations

import ast
import json
import shlex
from typing import Any

from insula.frontends.panel.lines import lines_of

BODY: dict[str, Any] = {
    "image": "debian-12",
    "plan": "entry-1",
    "tags": ["a b", "c"],
    "user_data": "#!/bin/sh\necho '${x}'\n",
}
ORIGIN = "https://cloud.example:7781"


def _line(title: str, names: tuple[str, ...] = ("web1",), body: dict[str, Any] = BODY) -> str:
    return next(line.text for line in lines_of(body, names, ORIGIN) if line.title == title)


def test_the_command_line_survives_a_shell() -> None:
    words = shlex.split(_line("Command line", ("it's",)))
    assert words[:3] == ["insula", "create", "it's"]
    assert words[words.index("--tag") + 1] == "a b"


def test_curl_sends_what_the_api_takes() -> None:
    words = shlex.split(_line("curl").replace("\\\n", " "))
    assert words[3] == f"{ORIGIN}/v1/instances"
    assert json.loads(words[words.index("-d") + 1]) == {"name": "web1", **BODY}


def test_python_is_python() -> None:
    tree = ast.parse(_line("Python", ("a-1", "a-2")))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.keywords]
    assert [ast.literal_eval(call.args[0]) for call in calls] == ["a-1", "a-2"]
    assert {word.arg: ast.literal_eval(word.value) for word in calls[0].keywords} == BODY


def test_terraform_takes_nothing_of_a_name_for_a_template() -> None:
    text = _line("Terraform", ('${evil} "x"',))
    assert '$${evil} \\"x\\"' in text
    assert f'api_endpoint = "{ORIGIN}/digitalocean"' in text


def test_a_restore_is_one_everywhere() -> None:
    assert _line("Command line", body={"backup": "kept"}) == "insula backup restore kept --as web1"
