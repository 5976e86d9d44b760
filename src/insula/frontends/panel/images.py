"""Images: what instances boot from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from insula.control.actions.published import PublishWish
from insula.domain.access import Scope
from insula.domain.image import Image, ImageSource, ImageState
from insula.domain.plan import PLANS
from insula.frontends.panel.nouns import Do, Done, Empty, Noun, accepted, serve
from insula.frontends.panel.operations import operations_of
from insula.frontends.panel.render import bytes_text, gib_text, mib_text
from insula.frontends.panel.view import (
    Cell,
    Column,
    Deed,
    Fact,
    Field,
    Part,
    Row,
    Thing,
    amount,
    choices,
    code,
    link,
    state,
    when,
)
from insula.frontends.panel.visit import ROOT, Visit
from insula.frontends.panel.volumes import instance_names

_HERE = f"{ROOT}/images"


async def _rows(visit: Visit) -> Sequence[Row]:
    return [_row(each) for each in (await visit.actions.images.list(visit.caller)).items]


def _row(each: Image) -> Row:
    cells = (
        link(each.reference, f"{_HERE}/{each.reference}"),
        Cell(each.title),
        state(each.state.value),
        Cell(each.source.value),
        amount(bytes_text(each.size_bytes) if each.size_bytes else "—", each.size_bytes),
        amount(str(len(each.templates)), len(each.templates)),
        when(each.made_at, "—"),
    )
    return Row(each.key, each.reference, cells, hint=each.id)


async def _show(visit: Visit, name: str) -> Thing:
    found = await visit.actions.images.show(visit.caller, name)
    lines = tuple(
        Row(
            str(number),
            "",
            (
                Cell(f"{each.vcpus} vCPU, {mib_text(each.memory_mib)}, {gib_text(each.disk_gib)}"),
                Cell(bytes_text(each.size_bytes)),
                Cell("yes" if each.in_memory else "no"),
                when(each.used_at),
            ),
        )
        for number, each in enumerate(found.templates)
    )
    return Thing(
        id=found.key,
        name=found.reference,
        state=found.state.value,
        problem=found.problem,
        facts=(
            Fact("What it is", Cell(found.title)),
            Fact("Where it comes from", Cell(found.source.value)),
            Fact("Takes", Cell(bytes_text(found.size_bytes))),
            Fact("Needs", Cell(f"{mib_text(found.min_memory_mib)} memory, {gib_text(found.min_disk_gib)} disk")),
            Fact("Firmware", Cell(f"{found.firmware}, {found.machine_type}")),
            Fact("Agent inside", Cell("yes" if found.has_agent else "no")),
            Fact("Made", when(found.made_at, "not yet")),
            Fact("Use", link("make an instance of it", f"{ROOT}/create?image={found.reference}")),
            *([Fact("Id", code(found.id))] if found.id else []),
        ),
        parts=(
            Part(
                "Templates",
                ("Size", "Takes", "In memory", "Used last"),
                lines,
                "None: instances boot. With one they go on from a guest that is ready.",
            ),
        ),
        deeds=_deeds(visit, found),
        operations=await operations_of(visit, found.key),
    )


def _deeds(visit: Visit, found: Image) -> tuple[Deed, ...]:
    if not visit.caller.identity.may(Scope.IMAGES_WRITE):
        return ()
    deeds = []
    if found.state is not ImageState.READY and found.source in {ImageSource.BUILT, ImageSource.DOWNLOADED}:
        deeds.append(Deed("prepare", "Prepare", "download", hint="It is built or downloaded, and verified."))
    plan = Field("plan", "Plan", "select", "", choices([*PLANS]))
    deeds.append(Deed("warm", "Make a template", "bolt", (plan,), "New instances of that size start at once then."))
    if found.id and found.project == visit.caller.project:
        share = Field("project", "Project", placeholder="all projects")
        deeds.append(Deed("share", "Share", "network", (share,)))
        retire = Deed("deprecate", "Retire", "x", hint="It is still there, but not what its name alone means.")
        deeds.append(replace(retire, verb="revive", label="Use it again", hint="") if found.deprecated else retire)
    if found.state is not ImageState.ABSENT:
        deeds.append(Deed("delete", "Delete", "trash", (), "Instances of it stay.", True, found.reference))
    return tuple(deeds)


async def _prepare(visit: Visit, name: str) -> Done:
    return accepted(await visit.actions.images.prepare(visit.caller, name), f"{name} is prepared.", f"{_HERE}/{name}")


async def _warm(visit: Visit, name: str) -> Done:
    operation = await visit.actions.images.warm(visit.caller, name, visit.form.text("plan"))
    return accepted(operation, f"A template of {name} is made.", f"{_HERE}/{name}")


async def _share(visit: Visit, name: str) -> Done:
    await visit.actions.published.share(visit.caller, name, visit.form.text("project") or None, True)
    return Done(f"{name} is shared.")


async def _deprecate(visit: Visit, name: str) -> Done:
    await visit.actions.published.deprecate(visit.caller, name, True)
    return Done(f"{name} is retired.")


async def _revive(visit: Visit, name: str) -> Done:
    await visit.actions.published.deprecate(visit.caller, name, False)
    return Done(f"{name} is used again.")


async def _delete(visit: Visit, name: str) -> Done:
    visit.form.check_typed(name, "delete")
    return accepted(await visit.actions.images.delete(visit.caller, name), f"{name} is deleted.", _HERE)


async def _fields(visit: Visit) -> tuple[Field, ...]:
    names = tuple((await instance_names(visit)).values())
    return (
        Field(
            "source", "Instance", "select", "", choices(names), hint="It goes on; its disk of this moment is copied."
        ),
        Field("name", "Name of the image", required=True, placeholder="web-golden"),
    )


async def _make(visit: Visit) -> Done:
    wish = PublishWish(visit.form.text("name"), visit.form.text("source"))
    return accepted(await visit.actions.published.publish(visit.caller, wish), f"The image {wish.name} is made.")


_VERBS: Mapping[str, Do] = {
    "prepare": _prepare,
    "warm": _warm,
    "share": _share,
    "deprecate": _deprecate,
    "revive": _revive,
    "delete": _delete,
}

NOUN = serve(
    Noun(
        path="/images",
        title="Images",
        one="image",
        icon="disc",
        columns=(
            Column("Name"),
            Column("What it is"),
            Column("State"),
            Column("From"),
            Column("Takes", is_number=True),
            Column("Templates", is_number=True),
            Column("Made"),
        ),
        rows=_rows,
        empty=Empty("No images", "The catalogue is empty.", "insula image list"),
        thing=_show,
        verbs=_VERBS,
        bulk=(
            Deed("prepare", "Prepare", "download"),
            Deed("delete", "Delete", "trash", hint="Instances of them stay.", is_danger=True),
        ),
        fields=_fields,
        make=_make,
        make_label="Make an image of an instance",
    )
)
