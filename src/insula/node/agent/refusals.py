"""Why a command does not fit the present power of an instance, and what does."""

from __future__ import annotations

from insula.base.errors import Conflict, GuestFailure, Unsupported
from insula.protocol.node import Power


def is_on(name: str, power: Power, wish: str) -> Conflict:
    """`wish` says what cannot be done, as a clause."""
    return Conflict(
        f"{name} is on, so {wish}",
        why=f"It is {power}",
        todo=f"Stop it first: `insula stop {name}`",
        code="instance-on",
    )


def is_off(name: str, power: Power) -> Conflict:
    return Conflict(
        f"{name} is not running",
        why=f"It is {power}",
        todo=f"Start it first: `insula start {name}`",
        code="instance-off",
    )


def stands_still(name: str) -> Conflict:
    return Conflict(
        f"{name} stands still",
        why="It is paused, so its guest cannot answer",
        todo=f"Let it go on: `insula resume {name}`",
        code="instance-paused",
    )


def is_renewing(name: str) -> Conflict:
    return Conflict(
        f"{name} is not itself yet",
        why="It goes on from another guest's memory, and is just getting an identity of its own",
        todo="Wait until it is running, or stop it",
        code="instance-renewing",
    )


def is_booting(name: str) -> Conflict:
    return Conflict(
        f"{name} is still booting",
        why="What goes on from a boot that is not over would be no use to anybody",
        todo=f"Wait until it is ready: `insula show {name}`",
        code="instance-booting",
    )


def has_no_agent(name: str, image: str) -> GuestFailure:
    return GuestFailure(
        f"{name} has no guest agent",
        why=f"Its image {image} brings none",
        todo="Use SSH, or an image with an agent such as debian-12",
        code="no-agent",
    )


def has_no_template(image: str) -> Unsupported:
    return Unsupported(
        f"Instances of {image} like this one cannot go on from a template",
        why="That needs a guest with an agent and our renewing program, and its kernel beside the image",
        todo="Nothing needs to be done: they boot from their disks",
        code="no-template",
    )


def cannot_be_forked(name: str, why: str) -> Unsupported:
    return Unsupported(
        f"{name} cannot be forked",
        why=why,
        todo="Create another instance instead",
        code="no-fork",
    )


def cannot_renew(name: str, image: str) -> Unsupported:
    return Unsupported(
        f"{name} cannot be forked as somebody else",
        why=f"Guests of {image} have no program that gives them new keys, random numbers and addresses",
        todo=f"Keep its identity, for a child without a network: `insula fork {name} --identity keep`",
        code="no-fork-renewal",
    )
