"""image publish, deprecate, share, unshare: images that are made of instances."""

from __future__ import annotations

import click

from insula.base.errors import InvalidInput
from insula.cli.commands.power import finish
from insula.cli.follow import wait_option
from insula.cli.output import json_option, print_json, say
from insula.cli.session import Session
from insula.domain.image import Image


@click.command()
@click.argument("source", metavar="INSTANCE|INSTANCE@SNAPSHOT|SNAPSHOT-ID")
@click.option("--name", required=True, metavar="NAME", help="The image's name; a known one gets its next version.")
@wait_option
@json_option
@click.pass_obj
def publish(session: Session, source: str, name: str, no_wait: bool, as_json: bool) -> None:
    """Make an image of an instance or a snapshot, without what is that instance's own.

    The instance runs on. Its keys, identifiers, logs, histories and temporary files are taken out of the copy.
    """
    operation = session.client.images.publish(name, source)
    done = finish(session, operation, no_wait=no_wait, as_json=as_json)
    if done and not as_json:
        say(f"Image {name}@{(done.result or {}).get('version')} is ready: insula launch NAME --image {name}")


@click.command()
@click.argument("name", metavar="NAME[@VERSION]")
@click.option("--undo", is_flag=True, help="Take it back.")
@json_option
@click.pass_obj
def deprecate(session: Session, name: str, undo: bool, as_json: bool) -> None:
    """Let NAME alone not mean this version (or all versions) any more; NAME@VERSION still works, with a warning."""
    found = session.client.images.deprecate(name, deprecated=not undo)
    _tell(found, f"Image {name} is {'not deprecated any more' if undo else 'deprecated'}", as_json)


_project_option = click.option("--project", default="", metavar="NAME", help="The other project.")
_all_option = click.option("--all", "is_for_all", is_flag=True, help="All projects.")


@click.command()
@click.argument("name")
@_project_option
@_all_option
@json_option
@click.pass_obj
def share(session: Session, name: str, project: str, is_for_all: bool, as_json: bool) -> None:
    """Let another project see and launch all versions of an image; it can change none."""
    _check_whom(project, is_for_all)
    _tell(session.client.images.share(name, project), f"Image {name} is shared with {_whom(project)}", as_json)


@click.command()
@click.argument("name")
@_project_option
@_all_option
@json_option
@click.pass_obj
def unshare(session: Session, name: str, project: str, is_for_all: bool, as_json: bool) -> None:
    """End that; instances that were made of it stay."""
    _check_whom(project, is_for_all)
    done = f"Image {name} is not shared with {_whom(project)} any more"
    _tell(session.client.images.unshare(name, project), done, as_json)


def _check_whom(project: str, is_for_all: bool) -> None:
    if bool(project) == is_for_all:
        raise InvalidInput(
            "It is not clear with whom",
            why="Either a project is named, or all are meant",
            todo="Say --project NAME or --all",
        )


def _whom(project: str) -> str:
    return f"project {project}" if project else "all projects"


def _tell(found: Image, text: str, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        say(text)
