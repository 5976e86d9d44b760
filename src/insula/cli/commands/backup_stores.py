"""backup store: add, list, show, key, import, check, prune, repair, remove."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from insula.base.clock import iso
from insula.base.errors import InsulaError, InvalidInput
from insula.base.run import await_apart, run
from insula.cli.commands.power import confirm, finish, yes_option
from insula.cli.follow import wait_option
from insula.cli.options import read_text
from insula.cli.output import ago, json_option, print_fields, print_json, print_table, say, size_of
from insula.cli.session import Session
from insula.client.backups import AddedStore
from insula.domain.backup import BackupStore, StoreKind
from insula.domain.names import check_name
from insula.domain.operation import Operation

_KEYSCAN_TIMEOUT_S = 30.0


@click.group()
def store() -> None:
    """Backup stores: the places elsewhere."""


@store.command()
@click.argument("name")
@click.option("--folder", metavar="PATH", help="A folder on another disk, or on a file server that is mounted.")
@click.option("--s3", "endpoint", metavar="ENDPOINT", help="An S3 service, like https://s3.example.org; aws is Amazon.")
@click.option("--bucket", default="", help="The S3 bucket, which must be there.")
@click.option("--prefix", default="", help="What the names in the bucket begin with.")
@click.option("--region", default="", help="The S3 region; us-east-1 otherwise.")
@click.option("--ssh", "address", metavar="USER@HOST[:PORT]/PATH", help="A folder on another machine, over SFTP.")
@click.option("--identity", metavar="FILE", help="The SSH key for it, without a passphrase; ~/.ssh/id_ed25519.")
@click.option("--host-key", default="", metavar="KEY", help="The machine's key; the one in known_hosts otherwise.")
@click.option("--rate-limit", "rate_mib_s", type=int, default=0, metavar="MIB/S", help="Send no faster.")
@click.option("--recovery-key", metavar="FILE", help="Opens one that is there already; - reads stdin.")
@json_option
@click.pass_obj
def add(
    session: Session,
    /,
    name: str,
    endpoint: str | None,
    rate_mib_s: int,
    recovery_key: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Add a backup store: a new one, or one that there is with its recovery key.

    S3 keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or are asked for.
    """
    kind, place = _place(endpoint, given)
    if recovery_key:
        place["recovery_key"] = "".join(read_text(recovery_key, "--recovery-key").split())
    added = session.client.backups.stores.add(check_name(name), kind, rate_mib_s=rate_mib_s, **place)
    if as_json:
        print_json(added)
        return
    _tell_added(added)


def _tell_added(added: AddedStore) -> None:
    if not added.is_new:
        say(f"Backup store {added.store.name} is open; {len(added.backups)} backups were found in it")
        return
    say(f"Backup store {added.store.name} is ready. Its recovery key:")
    click.echo(added.recovery_key)
    say("Keep it elsewhere, on paper or in a safe: without it nobody can read the backups when this host is lost.")


def _place(endpoint: str | None, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    folder, address = given["folder"], given["address"]
    if [bool(folder), bool(endpoint), bool(address)].count(True) != 1:
        raise InvalidInput(
            "It is not clear where the store is",
            why="One of --folder, --s3 and --ssh is needed",
            todo="Write it like: insula backup store add elsewhere --folder /mnt/backups",
        )
    if folder:
        return StoreKind.FOLDER.value, {"path": os.path.abspath(Path(folder).expanduser())}  # noqa: PTH100 - no links
    if endpoint:
        return StoreKind.S3.value, {
            "endpoint": "" if endpoint == "aws" else endpoint,
            "bucket": given["bucket"],
            "path": given["prefix"],
            "region": given["region"],
            "access_key": _secret("AWS_ACCESS_KEY_ID", "Access key"),
            "secret_key": _secret("AWS_SECRET_ACCESS_KEY", "Secret key"),
        }
    return StoreKind.SSH.value, _ssh(str(address), given["identity"], given["host_key"])


def _secret(variable: str, question: str) -> str:
    if value := os.environ.get(variable, ""):
        return value
    if not sys.stdin.isatty():
        raise InvalidInput(
            f"{variable} is not set",
            why="There is no terminal to ask at, and secrets do not belong on the command line",
            todo=f"Set {variable} in the environment",
        )
    return str(click.prompt(question, hide_input=True, err=True))


def _ssh(address: str, identity: str | None, host_key: str) -> dict[str, Any]:
    where, slash, path = address.partition("/")
    user, at, machine = where.rpartition("@")
    host, colon, port = machine.partition(":")
    is_port = port.isascii() and port.isdigit()
    if not (slash and at and user and host and path) or (colon and not is_port):
        raise InvalidInput(
            f"--ssh {address} is not a place on another machine",
            why="It is USER@HOST/PATH or USER@HOST:PORT/PATH",
            todo="Write it like --ssh backup@nas.example.org/srv/insula",
        )
    key = identity or str(Path.home() / ".ssh" / "id_ed25519")
    return {
        "user": user,
        "host": host,
        "port": int(port) if port else 22,
        "path": f"/{path}",
        "host_key": host_key or _known_key(host, int(port) if port else 22),
        "private_key": read_text(key, "--identity"),
    }


def _known_key(host: str, port: int) -> str:
    """The machine's key that the user has accepted before; nothing is accepted here."""
    name = host if port == 22 else f"[{host}]:{port}"
    home = Path.home()
    command = ["ssh-keygen", "-F", name, "-f", str(home / ".ssh" / "known_hosts")]
    done = await_apart(run(command, timeout_s=_KEYSCAN_TIMEOUT_S, check=False))
    lines = [line.split() for line in done.stdout.decode().splitlines() if line and not line.startswith(("#", "@"))]
    keys = [f"{words[1]} {words[2]}" for words in lines if len(words) > 2]
    if not keys:
        raise InvalidInput(
            f"The key of {name} is not known",
            why="It is not in ~/.ssh/known_hosts, and whoever answers there must be known before it gets backups",
            todo=f"Log in once with `ssh {host}`, or give it with --host-key 'ssh-ed25519 AAAA…'",
            code="unknown-host-key",
        )
    return next((key for key in keys if key.startswith("ssh-ed25519")), keys[0])


@store.command("list")
@json_option
@click.pass_obj
def list_(session: Session, as_json: bool) -> None:
    """List backup stores."""
    found = session.client.backups.stores.list()
    if as_json:
        print_json(found)
        return
    counts: dict[str, int] = {}
    for backup in session.client.backups.list() if found else ():
        counts[backup.store_id] = counts.get(backup.store_id, 0) + 1
    rows = [
        (
            each.name,
            each.state.value,
            each.place.kind.value,
            where(each),
            str(counts.get(each.id, 0)),
            f"{each.rate_mib_s} MiB/s" if each.rate_mib_s else "",
            ago(each.created_at),
        )
        for each in found
    ]
    head = ("NAME", "STATE", "KIND", "PLACE", "BACKUPS", "LIMIT", "ADDED")
    print_table(head, rows, empty="There is no backup store. Add one: insula backup store add elsewhere --folder PATH")


def where(found: BackupStore) -> str:
    """Its place as people write it."""
    place = found.place
    if place.kind is StoreKind.FOLDER:
        return place.path
    if place.kind is StoreKind.S3:
        return f"{place.endpoint or 'aws'} {place.bucket}/{place.path}".rstrip("/")
    port = f":{place.port}" if place.port != 22 else ""
    return f"{place.user}@{place.host}{port}{place.path}"


@store.command()
@click.argument("name")
@json_option
@click.pass_obj
def show(session: Session, name: str, as_json: bool) -> None:
    """Show one backup store."""
    found = session.client.backups.stores.get(name)
    if as_json:
        print_json(found)
        return
    print_fields(
        {
            "name": found.name,
            "id": found.id,
            "state": found.state.value,
            "kind": found.place.kind.value,
            "place": where(found),
            "host key": found.place.host_key,
            "limit": f"{found.rate_mib_s} MiB/s" if found.rate_mib_s else "",
            "backups": str(len(session.client.backups.list(store=found.id))),
            "pruned": f"{iso(found.pruned_at)} ({ago(found.pruned_at)})" if found.pruned_at else "",
            "added": f"{iso(found.created_at)} ({ago(found.created_at)})",
        }
    )


@store.command()
@click.argument("name")
@json_option
@click.pass_obj
def key(session: Session, name: str, as_json: bool) -> None:
    """Print a store's recovery key; whoever has it can read all backups in it."""
    found = session.client.backups.stores.key(name)
    if as_json:
        print_json({"recovery_key": found})
    else:
        click.echo(found)


@store.command()
@click.argument("name")
@yes_option
@json_option
@click.pass_obj
def remove(session: Session, name: str, yes: bool, as_json: bool) -> None:
    """Forget a backup store; what is in it stays there."""
    found = session.client.backups.stores.get(name)
    count = len(session.client.backups.list(store=found.id))
    note = f"Its {count} backups vanish from the list, but stay in {where(found)}" if count else "It has no backups"
    confirm(f"Forget the backup store {found.name}? {note}. Opening it again needs its recovery key.", yes)
    gone = session.client.backups.stores.remove(found.id)
    if as_json:
        print_json({"backups": gone})
        return
    say(f"Backup store {found.name} is forgotten; {gone} backups stay in {where(found)}")


@store.command()
@click.argument("name")
@click.option("--read-data", is_flag=True, help="Read every byte, which may take long and cost money.")
@wait_option
@json_option
@click.pass_obj
def check(session: Session, name: str, read_data: bool, no_wait: bool, as_json: bool) -> int:
    """Look whether all is in a store that its backups need; exits with 1 when something is lost."""
    operation = session.client.backups.stores.check(name, read_data=read_data)
    done = finish(session, operation, no_wait=no_wait, as_json=as_json)
    if done is None:
        return 0
    found = done.result or {}
    if not as_json:
        _tell_findings(session, name, done)
    return 0 if found.get("is_whole") else 1


def _tell_findings(session: Session, name: str, done: Operation) -> None:
    found = done.result or {}
    names = {each.id: each.name for each in session.client.backups.list()}
    for damaged in found["objects"]:
        say(f"damaged: {damaged['name']}: {damaged['why']}")
    for damaged in found["backups"]:
        lost = sum(end - begin for begin, end in damaged["ranges"])
        what = damaged["why"] or f"{size_of(lost)} of its {damaged['part']} are lost"
        say(f"backup {names.get(damaged['id'], damaged['id'])}: {what}")
    looked = f"{found['checked_packs']} packs, {size_of(found['checked_bytes'])}"
    say(f"Backup store {name} is {'whole' if found['is_whole'] else 'damaged'} ({looked} looked at)")
    if not found["is_whole"]:
        say(f"`insula backup store repair {name}` lets the next backups store again what is lost")


@store.command()
@click.argument("name")
@wait_option
@json_option
@click.pass_obj
def prune(session: Session, name: str, no_wait: bool, as_json: bool) -> None:
    """Give back the room of what no backup needs any more."""
    done = finish(session, session.client.backups.stores.prune(name), no_wait=no_wait, as_json=as_json)
    if done is not None and not as_json:
        say(f"{size_of((done.result or {})['freed_bytes'])} are free again in {name}")


@store.command()
@click.argument("name")
@wait_option
@json_option
@click.pass_obj
def repair(session: Session, name: str, no_wait: bool, as_json: bool) -> None:
    """Let the next backups store again what is lost, which mends older ones as well."""
    done = finish(session, session.client.backups.stores.repair(name), no_wait=no_wait, as_json=as_json)
    if done is None or as_json:
        return
    if lost := (done.result or {})["lost_pieces"]:
        say(f"{lost} pieces are lost in {name}; the next backup of each instance reads all of it and stores them again")
    else:
        say(f"Nothing is lost in {name}")


def tell_import(session: Session, name: str, as_json: bool) -> None:
    """Take over what other hosts put there, and say what is new. Raises what the store raises."""
    try:
        found = session.client.backups.stores.import_backups(name)
    except InsulaError:
        say(f"Backup store {name} cannot be looked into")
        raise
    if as_json:
        print_json(found)
        return
    for each in found:
        say(f"{each.name}: of {each.instance_name}, {ago(each.created_at)}")
    say(f"{len(found)} backups are new")
