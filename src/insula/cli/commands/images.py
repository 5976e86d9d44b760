"""image: list, build, warm, import, delete."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from insula.base.errors import NotFound
from insula.cli.commands import published
from insula.cli.commands.power import confirm, finish, yes_option
from insula.cli.follow import wait_option
from insula.cli.output import ago, json_option, print_fields, print_json, print_table, say, size
from insula.cli.session import Session
from insula.domain.image import ImageTemplate


@click.group()
def image() -> None:
    """Images: list, build, warm, import, publish, share, deprecate, delete."""


@image.command("list")
@json_option
@click.pass_obj
def list_(session: Session, as_json: bool) -> None:
    """List images: those here and those that can be had."""
    found = session.client.images.list()
    if as_json:
        print_json(found)
        return
    rows = [
        (
            each.reference,
            each.state.value,
            each.source.value,
            each.project,
            _size(each.size_bytes),
            ago(each.made_at),
            str(len(each.templates) or ""),
            each.problem or (f"{each.title} (deprecated)" if each.deprecated else each.title),
        )
        for each in found
    ]
    columns = ("NAME", "STATE", "SOURCE", "PROJECT", "SIZE", "MADE", "TEMPLATES", "TITLE")
    print_table(columns, rows, empty="There is no image.")


@image.command()
@click.argument("name")
@json_option
@click.pass_obj
def show(session: Session, name: str, as_json: bool) -> None:
    """Show one image."""
    found = session.client.images.get(name)
    if as_json:
        print_json(found)
        return
    print_fields(
        {
            "name": found.name,
            "title": found.title,
            "state": found.state.value,
            "problem": found.problem,
            "source": found.source.value,
            "version": found.version,
            "id": found.id,
            "project": found.project,
            "deprecated": "yes" if found.deprecated else "",
            "shared with": "all projects" if found.shared_with_all else ", ".join(found.shared_with),
            "made": ago(found.made_at),
            "size": _size(found.size_bytes),
            "needs": f"{size(found.min_memory_mib)} memory, {found.min_disk_gib} GiB disk",
            "guest agent": "yes" if found.has_agent else "no",
            "first boot": found.provisioning.value,
            "hardware": f"{found.machine_type}, {found.firmware}",
            "platform": found.platform.value,
        }
    )
    if found.templates:
        _show_templates(found.templates)


def _show_templates(templates: Sequence[ImageTemplate]) -> None:
    rows = [
        (
            f"{each.vcpus} vCPU, {size(each.memory_mib)}, {each.disk_gib} GiB",
            ago(each.made_at),
            ago(each.used_at),
            _size(each.size_bytes),
            "yes" if each.in_memory else "no",
        )
        for each in templates
    ]
    click.echo()
    print_table(("TEMPLATE FOR", "MADE", "USED", "SIZE", "IN MEMORY"), rows, empty="")


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1024 / 1024:.0f} MiB" if size_bytes else ""


@image.command()
@click.argument("name")
@wait_option
@json_option
@click.pass_obj
def build(session: Session, name: str, no_wait: bool, as_json: bool) -> None:
    """Build or download an image of the catalogue, so that the first create need not."""
    operation = session.client.images.prepare(name)
    if finish(session, operation, no_wait=no_wait, as_json=as_json) and not as_json:
        say(f"Image {name} is ready")


@image.command()
@click.argument("name")
@click.option("--plan", default="", metavar="NAME", help="The plan of these instances; the default one otherwise.")
@wait_option
@json_option
@click.pass_obj
def warm(session: Session, name: str, plan: str, no_wait: bool, as_json: bool) -> None:
    """Boot a guest ahead and freeze it, so that new instances of a plan go on from there."""
    operation = session.client.images.warm(name, plan=plan)
    if finish(session, operation, no_wait=no_wait, as_json=as_json) and not as_json:
        say(f"New instances of {name} with that plan start from a template now")


@image.command("import")
@click.argument("name")
@click.argument("file", type=click.Path())
@click.option(
    "--format", "image_format", default="qcow2", type=click.Choice(["qcow2", "raw"]), help="The file's format."
)
@click.option(
    "--platform",
    default="nocloud",
    type=click.Choice(["nocloud", "digitalocean", "akamai", "ec2"]),
    help="What its machines say that they are, for cloud-init in it.",
)
@wait_option
@json_option
@click.pass_obj
def import_(session: Session, /, name: str, file: str, no_wait: bool, as_json: bool, **given: str) -> None:
    """Import a disk image that lies on the service's host."""
    path = Path(file).expanduser().absolute()
    if session.settings.is_local and not path.is_file():
        raise NotFound(f"There is no file {file}", why=f"It was looked for at {path}", todo="Check the path")
    operation = session.client.images.import_file(name, str(path), **given)
    if finish(session, operation, no_wait=no_wait, as_json=as_json) and not as_json:
        say(f"Image {name} is ready")


@image.command()
@click.argument("name")
@click.option("--all-versions", is_flag=True, help="All versions of a published image.")
@yes_option
@wait_option
@json_option
@click.pass_obj
def delete(session: Session, name: str, all_versions: bool, yes: bool, no_wait: bool, as_json: bool) -> None:
    """Remove an image's files from the host; those of a published one (NAME@VERSION) when nothing uses them."""
    confirm(f"Delete the image {name}{' in all its versions' if all_versions else ''}?", yes)
    names = [name]
    if all_versions:
        own = session.client.images.get(name).project
        names = [each.id for each in session.client.images.list() if (each.name, each.project) == (name, own)]
    for each in names or [name]:
        done = finish(session, session.client.images.delete(each), no_wait=no_wait, as_json=as_json)
        if done and not as_json:
            still = bool((done.result or {}).get("in_use"))
            say(f"Image {name} is deleted" + ("; its files stay as long as something uses them" if still else ""))


for _command in (published.publish, published.deprecate, published.share, published.unshare):
    image.add_command(_command)
