"""Making instances: one page, with what is usual chosen already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from insula.base.errors import InsulaError, InvalidInput
from insula.control.actions.wishes import CreateWish
from insula.domain.access import Scope
from insula.domain.image import DEFAULT_IMAGE, Image, ImageState
from insula.domain.plan import DEFAULT_PLAN, PLANS, Plan
from insula.frontends.panel.forms import Form
from insula.frontends.panel.lines import Line, lines_of
from insula.frontends.panel.render import page
from insula.frontends.panel.view import new_once
from insula.frontends.panel.visit import ROOT, Answer, Visit, go_to, route
from insula.frontends.statuses import status_of

MOST_AT_ONCE = 20
_MOST = 100_000
_MOST_NAMES = 10_000


@dataclass(frozen=True)
class Offer:
    """What can be chosen. `own_key` is the public half of the key that the project has without making one."""

    images: tuple[Image, ...]
    plans: tuple[Plan, ...]
    keys: tuple[str, ...]
    own_key: str
    networks: tuple[str, ...]


@dataclass(frozen=True)
class Chosen:
    """The form as it is filled in."""

    name: str
    count: str
    image: str
    plan: str
    keys: tuple[str, ...]
    pasted: str
    network: str
    user_data: str
    tags: str
    snapshot: str = ""
    backup: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """One name, or so many with numbers behind it."""
        count = int(self.count) if self.count.isascii() and self.count.isdigit() and len(self.count) < 4 else 1
        if count <= 1:
            return (self.name,)
        return tuple(f"{self.name}-{number}" for number in range(1, min(count, MOST_AT_ONCE) + 1))

    @property
    def body(self) -> dict[str, Any]:
        """What is asked for, as the API takes it; without what is left as it is by default."""
        pasted = [line.strip() for line in self.pasted.splitlines() if line.strip()]
        given = {
            "image": self.image,
            "plan": self.plan,
            "ssh_keys": [*self.keys, *pasted],
            "network": self.network,
            "user_data": self.user_data,
            "tags": self.tags.replace(",", " ").split(),
            "snapshot": self.snapshot,
            "backup": self.backup,
        }
        return {name: value for name, value in given.items() if value}


@route("GET", "/create")
async def ask(visit: Visit) -> Answer:
    """The form, filled in with what is usual."""
    offer = await _offer(visit)
    query = visit.query
    from_other = bool(query.get("snapshot") or query.get("backup"))
    chosen = Chosen(
        name=query.get("name", "") or await _free_name(visit),
        count="1",
        image="" if from_other else query.get("image", "") or DEFAULT_IMAGE,
        plan="" if from_other else query.get("plan", "") or DEFAULT_PLAN,
        keys=offer.keys or ((offer.own_key,) if offer.own_key else ()),
        pasted="",
        network=query.get("network", ""),
        user_data="",
        tags="",
        snapshot=query.get("snapshot", ""),
        backup=query.get("backup", ""),
    )
    return _form(visit, offer, chosen)


def _form(visit: Visit, offer: Offer, chosen: Chosen, error: InsulaError | None = None) -> Answer:
    status = 200 if error is None else status_of(error)
    view = {"offer": offer, "chosen": chosen, "error": error, "lines": _lines(visit, chosen), "once": new_once()}
    return page(visit, "create.html", status=status, most_at_once=MOST_AT_ONCE, **view)


def _lines(visit: Visit, chosen: Chosen) -> tuple[Line, ...]:
    request = visit.request
    return lines_of(chosen.body, chosen.names, f"{request.scope['scheme']}://{request.headers.get('host', '')}")


async def _offer(visit: Visit) -> Offer:
    caller, may = visit.caller, visit.caller.identity.may
    images = (await visit.actions.images.list(caller)).items if may(Scope.IMAGES_READ) else ()
    keys = (await visit.actions.keys.list(caller)).items if may(Scope.KEYS_READ) else ()
    networks = (await visit.actions.networks.list(caller)).items if may(Scope.NETWORKS_READ) else ()
    own = visit.actions.keys.public_key_of_project(caller) if may(Scope.INSTANCES_EXEC) else ""
    usable = tuple(each for each in images if each.state is not ImageState.FAILED and not each.deprecated)
    return Offer(
        tuple(sorted(usable, key=lambda each: (each.name != DEFAULT_IMAGE, each.state is not ImageState.READY))),
        tuple(PLANS.values()),
        tuple(each.name for each in keys),
        own,
        tuple(each.name for each in networks),
    )


async def _free_name(visit: Visit) -> str:
    if not visit.caller.identity.may(Scope.INSTANCES_READ):
        return ""
    taken = {each.name for each in (await visit.actions.instances.list(visit.caller, limit=_MOST)).items}
    return next((name for name in (f"web{number}" for number in range(1, _MOST_NAMES)) if name not in taken), "")


@route("POST", "/create/lines")
async def lines(visit: Visit) -> Answer:
    """What one would type instead of the form as it is."""
    return page(visit, "lines.html", lines=_lines(visit, _chosen(visit.form)))


@route("POST", "/create")
async def make(visit: Visit) -> Answer:
    """Make what was asked for."""
    chosen = _chosen(visit.form)
    made: list[str] = []
    try:
        _check_count(chosen)
        for name in chosen.names:
            await visit.actions.instances.create(visit.caller, _wish(name, chosen))
            made.append(name)
    except InsulaError as error:
        if made:
            return go_to(f"{ROOT}/instances", f"{', '.join(made)} accepted; then: {error}")
        return _form(visit, await _offer(visit), chosen, error)
    if len(made) > 1:
        return go_to(f"{ROOT}/instances", f"{len(made)} instances are being made.")
    return go_to(f"{ROOT}/instances/{quote(made[0], safe='')}")


def _chosen(form: Form) -> Chosen:
    return Chosen(
        name=form.text("name"),
        count=form.text("count", "1"),
        image=form.text("image"),
        plan=form.text("plan"),
        keys=form.all("keys"),
        pasted=form.text("pasted"),
        network=form.text("network"),
        user_data=form.raw("user_data"),
        tags=form.text("tags"),
        snapshot=form.text("snapshot"),
        backup=form.text("backup"),
    )


def _check_count(chosen: Chosen) -> None:
    count = chosen.count
    if not (count.isascii() and count.isdigit() and len(count) < 4 and 1 <= int(count) <= MOST_AT_ONCE):
        raise InvalidInput(
            f"{count[:20]!r} instances cannot be made at once",
            why=f"It is a number from 1 to {MOST_AT_ONCE}",
            todo="Correct it and send it again",
            fields={"count": f"must be from 1 to {MOST_AT_ONCE}"},
        )


def _wish(name: str, chosen: Chosen) -> CreateWish:
    body = chosen.body
    return CreateWish(
        name=name,
        image=chosen.image,
        plan=chosen.plan,
        ssh_keys=tuple(body.get("ssh_keys", ())),
        user_data=chosen.user_data,
        tags=tuple(body.get("tags", ())),
        snapshot=chosen.snapshot,
        backup=chosen.backup,
        network=chosen.network,
    )
