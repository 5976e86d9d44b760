from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from insula.cli.program import COMMANDS, program


def _all(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _all(inner, (*path, name))


EVERY = dict(_all(program, ("insula",)))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_what_the_command_says(name: str) -> None:
    command = EVERY["insula", name]
    assert (command.help or "").split("\n")[0] == COMMANDS[name][2]
    assert command.name == name


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_every_command_and_option_has_help(path: tuple[str, ...]) -> None:
    command = EVERY[path]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{' '.join(path)} {parameter.name}"


# Commands whose output is not data: they hand over the terminal, copy bytes, or only say that it is done.
_WITHOUT_JSON = {
    "cp", "backup cp", "ssh", "console", "key remove", "key rename", "token revoke", "project delete", "completion",
    "user set-role", "user remove", "user disable", "user enable", "user end",
    "address release", "address-pool delete", "firewall delete", "network delete", "network join", "network part",
    "service start", "service stop", "service logs", "service run", "service install",
}  # fmt: skip


def test_every_command_that_prints_data_can_print_json() -> None:
    leaves = {" ".join(path[1:]): command for path, command in EVERY.items() if not isinstance(command, click.Group)}
    without = {
        name for name, command in leaves.items() if not any("--json" in option.opts for option in command.params)
    }
    assert without == _WITHOUT_JSON
