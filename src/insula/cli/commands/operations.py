"""operation: list, show, watch, cancel, retry."""

from __future__ import annotations

import click

from insula.cli.commands.power import finish
from insula.cli.follow import follow, wait_option
from insula.cli.output import ago, json_option, print_fields, print_json, print_table, say, took
from insula.cli.session import Session
from insula.domain.operation import Operation, OperationState, Verb

# The values: click would take an enum's upper-case names.
_STATES = [state.value for state in OperationState]
_VERBS = [verb.value for verb in Verb]


@click.group()
def operation() -> None:
    """Operations: watch, cancel, retry what goes on."""


@operation.command("list")
@click.option("--state", type=click.Choice(_STATES), help="Only those in this state.")
@click.option("--verb", type=click.Choice(_VERBS), help="Only those that do this.")
@click.option("--limit", default=20, metavar="N", help="How many at most, newest first (20).")
@json_option
@click.pass_obj
def list_(session: Session, state: str | None, verb: str | None, limit: int, as_json: bool) -> None:
    """List operations, newest first."""
    found = session.client.operations.list(state=state or "", verb=verb or "", limit=limit)
    if as_json:
        print_json(found)
        return
    rows = [
        (
            each.id,
            each.verb.value,
            each.target_name or each.target,
            each.state.value,
            _lasted(each),
            ago(each.created_at),
        )
        for each in found
    ]
    print_table(("ID", "VERB", "TARGET", "STATE", "TOOK", "BEGAN"), rows, empty="There is no operation.")


def _lasted(found: Operation) -> str:
    return took((found.updated_at - found.created_at).total_seconds() * 1000) if found.state.is_final else ""


@operation.command()
@click.argument("operation_id", metavar="OPERATION")
@json_option
@click.pass_obj
def show(session: Session, operation_id: str, as_json: bool) -> None:
    """Show one operation with its steps."""
    found = session.client.operations.get(operation_id)
    if as_json:
        print_json(found)
        return
    error = found.error or {}
    print_fields(
        {
            "id": found.id,
            "verb": found.verb.value,
            "target": found.target_name or found.target,
            "state": found.state.value,
            "asked by": found.requested_by,
            "began": ago(found.created_at),
            "took": _lasted(found),
            "retry of": found.retry_of,
            "error": str(error.get("what", "")),
            "why": str(error.get("why", "")),
            "do": str(error.get("todo", "")),
        }
    )
    if found.steps:
        click.echo("steps:")
    for step in found.steps:
        click.echo(f"  {step.name.replace('_', ' '):<24} {step.state.value:<8} {took(step.took_ms)}")


@operation.command()
@click.argument("operation_id", metavar="OPERATION")
@json_option
@click.pass_obj
def watch(session: Session, operation_id: str, as_json: bool) -> None:
    """Follow an operation to its end."""
    done = follow(session.client, session.client.operations.get(operation_id), quiet=as_json)
    if as_json:
        print_json(done)
        return
    say(f"{done.verb} of {done.target_name or done.target}: {done.state}")


@operation.command()
@click.argument("operation_id", metavar="OPERATION")
@json_option
@click.pass_obj
def cancel(session: Session, operation_id: str, as_json: bool) -> None:
    """Ask an operation to stop and undo what it did."""
    found = session.client.operations.cancel(operation_id)
    if as_json:
        print_json(found)
        return
    say(f"{found.id} was asked to stop; watch it undo itself: insula operation watch {found.id}")


@operation.command()
@click.argument("operation_id", metavar="OPERATION")
@wait_option
@json_option
@click.pass_obj
def retry(session: Session, operation_id: str, no_wait: bool, as_json: bool) -> None:
    """Do again what failed or was cancelled, as a new operation."""
    again = session.client.operations.retry(operation_id)
    done = finish(session, again, no_wait=no_wait, as_json=as_json)
    if done is not None and not as_json:
        say(f"{done.verb} of {done.target_name or done.target}: {done.state}")
