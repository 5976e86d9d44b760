"""list, show, rename, wait, tag, protect, unprotect, lease."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import click

from insula.base.clock import iso
from insula.base.errors import Forbidden, NotFound
from insula.cli.options import lease_s
from insula.cli.output import ago, expires, json_option, print_fields, print_json, print_table, say, size, took
from insula.cli.session import Session
from insula.domain.ids import Kind, is_id
from insula.domain.instance import Instance, InstanceState, Platform
from insula.domain.names import check_name
from insula.domain.volume import Volume

# The values: click would take an enum's upper-case names.
STATES = [state.value for state in InstanceState]


@click.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--tag", default="", help="Only those with this tag.")
@click.option("--image", default="", help="Only those of this image.")
@json_option
@click.pass_obj
def list_(session: Session, state: str | None, tag: str, image: str, as_json: bool) -> None:
    """List instances."""
    found = session.client.instances.list(state=state or "", tag=tag, image=image)
    if as_json:
        print_json(found)
        return
    names: dict[str, str] = {}
    if any(is_id(each.image, Kind.IMAGE) for each in found):
        with contextlib.suppress(Forbidden):  # a token that may not see images shows their ids
            names = {each.key: each.reference for each in session.client.images.list()}
    rows = [
        (
            each.name,
            each.state.value,
            names.get(each.image, each.image),
            each.plan,
            f"{each.resources.vcpus} vCPU, {size(each.resources.memory_mib)}, {each.resources.disk_gib} GiB",
            ", ".join(f"{f.host_port}→{f.guest_port}" for f in each.forwards),
            ago(each.created_at),
            expires(each.lease_until),
        )
        for each in found
    ]
    head = ("NAME", "STATE", "IMAGE", "PLAN", "SIZE", "PORTS", "CREATED", "LEASE")
    print_table(head, rows, empty="There is no instance. Make one: insula create web1")


@click.command()
@click.argument("instance")
@json_option
@click.pass_obj
def show(session: Session, instance: str, as_json: bool) -> None:
    """Show one instance, with its last boot."""
    found = session.client.instances.get(instance)
    if as_json:
        print_json(found)
        return
    volumes: Sequence[Volume] = ()
    with contextlib.suppress(Forbidden):  # a token that may not see volumes shows the rest
        volumes = session.client.volumes.list(instance=found.id)
    reserved: Sequence[str] = ()
    with contextlib.suppress(Forbidden):
        reserved = [each.address for each in session.client.addresses.list() if each.instance_id == found.id]
    _print_instance(found, volumes, reserved, _image_of(session, found))


def _image_of(session: Session, found: Instance) -> str:
    """What people call its image; the id of a published one that they do not see any more."""
    if is_id(found.image, Kind.IMAGE):
        with contextlib.suppress(Forbidden, NotFound):
            return session.client.images.get(found.image).reference
    return found.image


def _print_instance(found: Instance, volumes: Sequence[Volume], reserved: Sequence[str], image: str) -> None:
    """Everything about an instance, for people."""
    resources = found.resources
    limits = {
        "IOPS": resources.disk_iops,
        "MB/s to the disk": resources.disk_mbps,
        "Mbit/s to the network": resources.network_mbps,
        "packets/s": resources.network_pps,
    }
    print_fields(
        {
            "name": found.name,
            "id": found.id,
            "state": found.state.value,
            "problem": found.problem,
            "image": image,
            "plan": found.plan,
            "size": f"{resources.vcpus} vCPU ({resources.cpu_percent} % of a core at most), "
            f"{size(resources.memory_mib)} memory, {resources.disk_gib} GiB disk",
            "platform": found.platform.value if found.platform is not Platform.AUTO else "",
            "limits": ", ".join(f"{value} {name}" for name, value in limits.items() if value),
            "volumes": ", ".join(f"{each.name} ({each.size_gib} GiB)" for each in volumes),
            "host name": found.hostname,
            "addresses": ", ".join(text for port in found.ports for text in (port.ipv4, port.ipv6) if text),
            "reserved": ", ".join(reserved),
            "ports": ", ".join(f"{f.host_address}:{f.host_port} → {f.guest_port}/{f.protocol}" for f in found.forwards),
            "ssh": f"insula ssh {found.name}" if found.ssh_port else "",
            "tags": ", ".join(found.tags),
            "protected": "yes" if found.protected else "",
            "lease": f"{expires(found.lease_until)} ({iso(found.lease_until)})" if found.lease_until else "",
            "restarts": str(found.restarts) if found.restarts else "",
            "created": f"{iso(found.created_at)} ({ago(found.created_at)})",
            "started": f"{iso(found.started_at)} ({ago(found.started_at)})" if found.started_at else "",
        }
    )
    if found.boot_phases:
        click.echo("last boot:")
        for phase in found.boot_phases:
            click.echo(f"  {phase.name:<12} {took(phase.took_ms)}")


@click.command()
@click.argument("instance")
@click.argument("new_name")
@json_option
@click.pass_obj
def rename(session: Session, instance: str, new_name: str, as_json: bool) -> None:
    """Rename an instance."""
    found = session.client.instances.rename(instance, check_name(new_name))
    if as_json:
        print_json(found)
        return
    say(f"{instance} is {found.name} now")


@click.command()
@click.argument("instance")
@click.option("--for", "state", default="running", type=click.Choice(STATES), help="The state to wait for.")
@click.option("--timeout", "timeout_s", default=300.0, metavar="SECONDS", help="Give up after so long (300).")
@json_option
@click.pass_obj
def wait(session: Session, instance: str, state: str, timeout_s: float, as_json: bool) -> None:
    """Wait until an instance is in a state."""
    found = session.client.instances.wait(instance, state, timeout_s=timeout_s)
    if as_json:
        print_json(found)
        return
    say(f"{found.name} is {found.state}")


@click.command()
@click.argument("instance")
@click.argument("tags", nargs=-1)
@click.option("--remove", multiple=True, metavar="TAG", help="Take a tag away; repeat.")
@click.option("--clear", is_flag=True, help="Take all tags away first.")
@json_option
@click.pass_obj
def tag(
    session: Session, instance: str, tags: tuple[str, ...], remove: tuple[str, ...], clear: bool, as_json: bool
) -> None:
    """Show or change an instance's tags."""
    found = session.client.instances.get(instance)
    if tags or remove or clear:
        kept = set() if clear else set(found.tags)
        found = session.client.instances.set_tags(found.id, sorted((kept | set(tags)) - set(remove)))
    if as_json:
        print_json(found.tags)
        return
    for each in found.tags:
        click.echo(each)


@click.command()
@click.argument("instance")
@json_option
@click.pass_obj
def protect(session: Session, instance: str, as_json: bool) -> None:
    """Protect an instance against delete and rebuild."""
    _set_protection(session, instance, True, as_json)


@click.command()
@click.argument("instance")
@json_option
@click.pass_obj
def unprotect(session: Session, instance: str, as_json: bool) -> None:
    """Take the protection away."""
    _set_protection(session, instance, False, as_json)


def _set_protection(session: Session, instance: str, protected: bool, as_json: bool) -> None:
    found = session.client.instances.protect(instance, protected)
    if as_json:
        print_json(found)
        return
    say(f"{found.name} is {'protected' if found.protected else 'not protected any more'}")


@click.command()
@click.argument("instance")
@click.argument("time", metavar="TIME|off")
@json_option
@click.pass_obj
def lease(session: Session, instance: str, time: str, as_json: bool) -> None:
    """Let an instance be deleted after a time, like 10m, unless this is said again; off lets it stay."""
    found = session.client.instances.lease(instance, None if time == "off" else lease_s(time))
    if as_json:
        print_json(found)
        return
    say(f"{found.name} {expires(found.lease_until) or 'stays until it is deleted'}")
