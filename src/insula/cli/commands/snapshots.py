"""snapshot: create, list, show, revert, rename, tag, protect, unprotect, delete."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from insula.base.clock import iso
from insula.cli.commands.power import confirm, finish, yes_option
from insula.cli.follow import wait_option
from insula.cli.output import ago, json_option, print_fields, print_json, print_table, say, size
from insula.cli.session import Session
from insula.domain.names import check_name
from insula.domain.snapshot import Snapshot, SnapshotKind, SnapshotState

_KINDS = {
    "filesystem": "the guest had written all down for it",
    "crash": "what there is after a power cut",
    "stopped": "no guest ran",
}


@click.group()
def snapshot() -> None:
    """Snapshots: what an instance was, to go back to or to go on from."""


@snapshot.command()
@click.argument("instance")
@click.argument("name", default="")
@click.option("--memory", is_flag=True, help="With the guest's memory, so that it goes on from there.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag; repeat.")
@click.option("--protect", is_flag=True, help="Protect it against delete.")
@wait_option
@json_option
@click.pass_obj
def create(
    session: Session,
    instance: str,
    name: str,
    memory: bool,
    tags: tuple[str, ...],
    protect: bool,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Make a snapshot of an instance, which may be running."""
    operation = session.client.snapshots.create(
        instance,
        check_name(name) if name else "",
        kind="memory" if memory else "disk",
        tags=tags,
        protected=protect,
    )
    done = finish(session, operation, no_wait=no_wait, as_json=as_json)
    if done is not None and not as_json:
        result = done.result or {}
        still = max(result["paused_ms"], result["frozen_ms"])
        say(f"Snapshot {done.target_name} is made ({_KINDS[result['consistency']]}); it held {instance} up {still} ms")


@snapshot.command("list")
@click.option("--instance", default="", help="Only those of this instance; by its id when it is gone.")
@click.option("--state", type=click.Choice([state.value for state in SnapshotState]), help="Only those in this state.")
@click.option("--tag", default="", help="Only those with this tag.")
@json_option
@click.pass_obj
def list_(session: Session, instance: str, state: str | None, tag: str, as_json: bool) -> None:
    """List snapshots as a tree: each below the one that it went on from."""
    found = session.client.snapshots.list(instance=instance, state=state or "", tag=tag)
    if as_json:
        print_json(found)
        return
    names = {each.id: each.name for each in session.client.instances.list()} if found else {}
    rows = [
        (
            f"{'  ' * depth}{each.name}",
            each.state.value,
            names.get(each.instance_id, each.instance_id),
            each.kind.value,
            each.consistency.value if each.consistency is not None else "",
            size(each.size_bytes >> 20),
            ", ".join(each.tags),
            ago(each.created_at),
        )
        for depth, each in as_tree(found)
    ]
    head = ("NAME", "STATE", "INSTANCE", "KIND", "CONSISTENCY", "SIZE", "TAGS", "CREATED")
    print_table(head, rows, empty="There is no snapshot. Make one: insula snapshot create web1")


def as_tree(found: Sequence[Snapshot]) -> Iterator[tuple[int, Snapshot]]:
    """Each with its depth, below its parent if that is among them; else in the order given."""
    known = {each.id for each in found}

    def below(parent_id: str | None, depth: int) -> Iterator[tuple[int, Snapshot]]:
        for each in found:
            if (each.parent_id if each.parent_id in known else None) == parent_id:
                yield depth, each
                yield from below(each.id, depth + 1)

    return below(None, 0)


@snapshot.command()
@click.argument("name")
@json_option
@click.pass_obj
def show(session: Session, name: str, as_json: bool) -> None:
    """Show one snapshot."""
    found = session.client.snapshots.get(name)
    if as_json:
        print_json(found)
        return
    hosts = {each.id: each.name for each in session.client.instances.list()}
    parents = {each.id: each.name for each in session.client.snapshots.list()}
    print_fields(
        {
            "name": found.name,
            "id": found.id,
            "state": found.state.value,
            "problem": found.problem,
            "instance": hosts.get(found.instance_id, f"{found.instance_id}, which is gone"),
            "went on from": parents.get(found.parent_id or "", ""),
            "kind": "disk and memory" if found.kind is SnapshotKind.MEMORY else "disk",
            "consistency": f"{found.consistency}: {_KINDS[found.consistency]}" if found.consistency else "",
            "size": size(found.size_bytes >> 20),
            "image": found.image,
            "plan": found.plan,
            "tags": ", ".join(found.tags),
            "protected": "yes" if found.protected else "",
            "created": f"{iso(found.created_at)} ({ago(found.created_at)})",
        }
    )


@snapshot.command()
@click.argument("name")
@click.option("--disk-only", is_flag=True, help="Boot from its disk, though it has memory to go on from.")
@yes_option
@wait_option
@json_option
@click.pass_obj
def revert(session: Session, name: str, disk_only: bool, yes: bool, no_wait: bool, as_json: bool) -> None:
    """Take the snapshot's instance back to it; what the instance is now is lost."""
    found = session.client.snapshots.get(name)
    host = session.client.instances.get(found.instance_id)
    confirm(f"Take {host.name} back to {found.name}, made {ago(found.created_at)}? What it is now is lost.", yes)
    operation = session.client.instances.revert(host.id, found.id, disk_only=disk_only)
    if finish(session, operation, no_wait=no_wait, as_json=as_json) and not as_json:
        now = session.client.instances.get(host.id)
        say(f"{host.name} is what it was at {found.name}, and {now.state}")


@snapshot.command()
@click.argument("name")
@click.argument("new_name")
@json_option
@click.pass_obj
def rename(session: Session, name: str, new_name: str, as_json: bool) -> None:
    """Rename a snapshot."""
    found = session.client.snapshots.rename(name, check_name(new_name))
    if as_json:
        print_json(found)
        return
    say(f"{name} is now {found.name}")


@snapshot.command()
@click.argument("name")
@click.argument("tags", nargs=-1)
@click.option("--remove", multiple=True, metavar="TAG", help="Take a tag away; repeat.")
@json_option
@click.pass_obj
def tag(session: Session, name: str, tags: tuple[str, ...], remove: tuple[str, ...], as_json: bool) -> None:
    """Show or change a snapshot's tags."""
    found = session.client.snapshots.get(name)
    if tags or remove:
        found = session.client.snapshots.set_tags(found.id, sorted((set(found.tags) | set(tags)) - set(remove)))
    if as_json:
        print_json(found)
        return
    click.echo("\n".join(found.tags))


@snapshot.command()
@click.argument("name")
@json_option
@click.pass_obj
def protect(session: Session, name: str, as_json: bool) -> None:
    """Protect a snapshot against delete."""
    _protect(session, name, True, as_json)


@snapshot.command()
@click.argument("name")
@json_option
@click.pass_obj
def unprotect(session: Session, name: str, as_json: bool) -> None:
    """Take the protection away."""
    _protect(session, name, False, as_json)


@snapshot.command()
@click.argument("name")
@yes_option
@wait_option
@json_option
@click.pass_obj
def delete(session: Session, name: str, yes: bool, no_wait: bool, as_json: bool) -> None:
    """Delete a snapshot; other snapshots and disks keep what they need of it."""
    found = session.client.snapshots.get(name)
    confirm(f"Delete the snapshot {found.name}? It cannot be undone.", yes)
    if finish(session, session.client.snapshots.delete(found.id), no_wait=no_wait, as_json=as_json) and not as_json:
        say(f"Snapshot {found.name} is deleted")


def _protect(session: Session, name: str, protected: bool, as_json: bool) -> None:
    found = session.client.snapshots.protect(name, protected)
    if as_json:
        print_json(found)
        return
    say(f"Snapshot {found.name} is {'protected' if found.protected else 'not protected any more'}")
