"""`insula` itself: the table of its commands, each imported only when it is called or helped with."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from insula.cli.session import Session

# name → (module in insula.cli.commands, object, one line of help as in the command's docstring)
Entries = Mapping[str, tuple[str, str, str]]


class LazyGroup(click.Group):
    """A group whose commands live in modules that are imported on use."""

    def __init__(self, *args: Any, entries: Entries, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.entries:
            return None
        module, attribute, _ = self.entries[cmd_name]
        command = getattr(importlib.import_module(f"insula.cli.commands.{module}"), attribute)
        assert isinstance(command, click.Command)  # noqa: S101 - the table above is wrong otherwise; a test walks it
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in self.entries.items()])


COMMANDS: Entries = {
    "launch": ("launch", "launch", "From nothing to a root shell: set up, start the service, create an instance."),
    "create": ("create", "create", "Create an instance and start it."),
    "list": ("instances", "list_", "List instances."),
    "show": ("instances", "show", "Show one instance, with its last boot."),
    "start": ("power", "start", "Start an instance; a hibernated one goes on where it was."),
    "stop": ("power", "stop", "Stop an instance: politely first, hard when it does not obey."),
    "reboot": ("power", "reboot", "Reboot an instance."),
    "pause": ("power", "pause", "Let an instance stand still; its memory stays in the host's."),
    "resume": ("power", "resume", "Let a paused instance go on."),
    "hibernate": (
        "power",
        "hibernate",
        "Save an instance's memory to disk and free the host's; start goes on from there.",
    ),
    "fork": ("power", "fork", "Make children that go on from an instance's present state, while it goes on itself."),
    "delete": ("power", "delete", "Delete instances with their disks; their backups stay."),
    "rename": ("instances", "rename", "Rename an instance."),
    "resize": ("power", "resize", "Change an instance's size; a running one reboots for processors and memory only."),
    "rebuild": ("power", "rebuild", "Give an instance a fresh disk; what it held is lost."),
    "wait": ("instances", "wait", "Wait until an instance is in a state."),
    "tag": ("instances", "tag", "Show or change an instance's tags."),
    "protect": ("instances", "protect", "Protect an instance against delete and rebuild."),
    "unprotect": ("instances", "unprotect", "Take the protection away."),
    "lease": (
        "instances",
        "lease",
        "Let an instance be deleted after a time, like 10m, unless this is said again; off lets it stay.",
    ),
    "exec": ("guest", "exec_", "Run a program as root inside an instance."),
    "cp": ("guest", "cp", "Copy a file into or out of an instance."),
    "ssh": ("ssh", "ssh", "Log in to an instance, or run a command there, over SSH."),
    "console": ("console", "console", "Attach to an instance's serial console, or show what it printed."),
    "volume": ("volumes", "volume", "Volumes: disks that are attached to one instance, then to another."),
    "snapshot": ("snapshots", "snapshot", "Snapshots: what an instance was, to go back to or to go on from."),
    "backup": ("backups", "backup", "Backups: instances' disks in a place elsewhere, by hand or by schedule."),
    "network": ("networks", "network", "Networks: what instances are in."),
    "address": ("addresses", "address", "Addresses of the outside that lead to instances."),
    "address-pool": ("addresses", "address_pool", "Pools of addresses that projects may reserve."),
    "traffic": ("traffic", "traffic", "Show what an instance sent and received, hour by hour."),
    "metrics": (
        "metrics",
        "metrics",
        "Show what an instance, or the host, used: processors, memory, disks, network.",
    ),
    "top": (
        "metrics",
        "top",
        "Show what all instances and the host use now, those that work most first, again every ten seconds.",
    ),
    "forward": ("forwards", "forward", "Forwards: ports of the host that lead to instances."),
    "firewall": ("firewalls", "firewall", "Firewalls: who may reach which instances, and whom these may reach."),
    "image": ("images", "image", "Images: list, build, warm, import, publish, share, deprecate, delete."),
    "plan": ("plans", "plan", "Plans: the sizes there are."),
    "key": ("keys", "key", "SSH keys that instances can be given by name."),
    "token": ("tokens", "token", "Tokens for the API over TCP."),
    "user": ("users", "user", "Users: who may sign in with a browser, and what they are to projects."),
    "endpoint": ("endpoint", "endpoint", "Print what points other vendors' tools here, with a fresh token."),
    "ca": (
        "endpoint",
        "ca",
        "Print the certificate that clients trust to come here over HTTPS: insula ca > insula-ca.pem.",
    ),
    "project": ("projects", "project", "Projects: the boundary between tenants."),
    "operation": ("operations", "operation", "Operations: watch, cancel, retry what goes on."),
    "capacity": ("host", "capacity", "Show what the host has, what is promised, what is left."),
    "doctor": ("host", "doctor", "Say what this host can do, what is wrong and how to mend it."),
    "audit": ("host", "audit", "Show who did what."),
    "service": ("service", "service", "The service: start, stop, status, logs."),
    "version": ("version", "version", "Show the versions of the command line and of the service."),
    "completion": ("version", "completion", "Print the shell code that completes commands."),
}


@click.group(cls=LazyGroup, entries=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--project", default="", metavar="NAME", help="Work in this project instead of INSULA_PROJECT.")
@click.version_option(package_name="insula", prog_name="insula", message="%(prog)s %(version)s")
@click.pass_context
def program(context: click.Context, project: str) -> None:
    """Your own VPS cloud on this machine: real virtual machines, from one command.

    Start with: insula launch web1
    """
    context.obj = Session(project)
    context.call_on_close(context.obj.close)
