"""SSH keys that instances can be made with."""

from __future__ import annotations

from collections.abc import Sequence

from insula.frontends.panel.nouns import Done, Empty, Noun, serve
from insula.frontends.panel.view import Column, Deed, Fact, Field, Row, Thing, code, link, when
from insula.frontends.panel.visit import ROOT, Answer, Visit, route

_HERE = f"{ROOT}/keys"


async def _rows(visit: Visit) -> Sequence[Row]:
    found = await visit.actions.keys.list(visit.caller)
    return [
        Row(
            each.id,
            each.name,
            (link(each.name, f"{_HERE}/{each.name}"), code(each.fingerprint), when(each.created_at)),
            hint=each.public_key,
        )
        for each in found.items
    ]


async def _show(visit: Visit, name: str) -> Thing:
    found = await visit.actions.keys.show(visit.caller, name)
    return Thing(
        id=found.id,
        name=found.name,
        facts=(
            Fact("Fingerprint", code(found.fingerprint)),
            Fact("Public key", code(found.public_key)),
            Fact("Added", when(found.created_at)),
            Fact("Id", code(found.id)),
        ),
        deeds=(
            Deed("rename", "Rename", "edit", (Field("name", "Name", value=found.name, required=True),)),
            Deed("delete", "Delete", "trash", (), "Instances that were made with it keep it.", True, found.name),
        ),
    )


async def _rename(visit: Visit, name: str) -> Done:
    changed = await visit.actions.keys.rename(visit.caller, name, visit.form.text("name"))
    return Done(f"It is called {changed.name} now.", f"{_HERE}/{changed.name}")


async def _delete(visit: Visit, name: str) -> Done:
    visit.form.check_typed(name, "delete")
    await visit.actions.keys.delete(visit.caller, name)
    return Done(f"The key {name} is gone.", _HERE)


async def _fields(visit: Visit) -> tuple[Field, ...]:
    hint = "The line of the file that ends with .pub, as ~/.ssh/id_ed25519.pub. Never the other file."
    return (
        Field("name", "Name", required=True, placeholder="laptop"),
        Field("public_key", "Public key", "area", required=True, placeholder="ssh-ed25519 AAAA…", hint=hint),
    )


async def _make(visit: Visit) -> Done:
    added = await visit.actions.keys.add(visit.caller, visit.form.text("name"), visit.form.text("public_key"))
    return Done(f"The key {added.name} is stored.")


NOUN = serve(
    Noun(
        path="/keys",
        title="SSH keys",
        one="key",
        icon="key",
        columns=(Column("Name"), Column("Fingerprint"), Column("Added")),
        rows=_rows,
        empty=Empty(
            "No keys yet",
            "Store the public half of your SSH key: instances that are made with it let you in without a password.",
            "insula key add laptop ~/.ssh/id_ed25519.pub",
        ),
        thing=_show,
        verbs={"rename": _rename, "delete": _delete},
        bulk=(Deed("delete", "Delete", "trash", hint="Instances that were made with them keep them.", is_danger=True),),
        fields=_fields,
        make=_make,
        make_label="Add key",
    )
)


@route("POST", "/keys/own")
async def own(visit: Visit) -> Answer:
    """The private half of the key that the project has without making one, as a file."""
    key = await visit.actions.keys.key_of_project(visit.caller)
    headers = {"content-disposition": f'attachment; filename="insula-{visit.caller.project}"'}
    return Answer(key.private_key.encode(), media="application/x-pem-file", headers=headers)
