"""Why a command does not fit the present state of an instance, and what does."""

from __future__ import annotations

from insula.base.errors import Conflict, GuestFailure
from insula.protocol.node import Power

STARVED = (
    "The host's disk is full: the guest stands still, loses nothing, and goes on by itself when there is room. "
    "Free some, or delete what is not needed any more"
)


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


def is_asleep(name: str) -> Conflict:
    return Conflict(
        f"The disks of {name} cannot change now",
        why="It is hibernated, and wakes with the devices that it had",
        todo=f"Wake it first: `insula start {name}`",
        code="instance-hibernated",
    )


def has_cards(name: str) -> Conflict:
    return Conflict(
        f"The memory of {name} cannot be kept or forked now",
        why="It has several network cards, and a machine that goes on from its memory would have the first one only",
        todo=f"Take the others away first: insula network detach {name} NETWORK",
        code="several-cards",
    )


def is_renewing(name: str) -> Conflict:
    return Conflict(
        f"{name} is not itself yet",
        why="It goes on from another guest's memory, and is just getting an identity of its own",
        todo="Wait until it is running, or stop it",
        code="instance-renewing",
    )


def has_no_agent(name: str, image: str) -> GuestFailure:
    return GuestFailure(
        f"{name} has no guest agent",
        why=f"Its image {image} brings none",
        todo="Use SSH, or an image with an agent such as debian-12",
        code="no-agent",
    )
