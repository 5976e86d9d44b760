"""Operations on images that fail, are cancelled or run twice: an image is whole or absent, and can be had again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from insula.control.operations.tables import TABLES
from insula.domain.image import ImageState
from insula.domain.instance import Resources
from insula.domain.operation import OperationState, Verb
from insula.node.agent import Node
from tests.operations.control import PATIENCE_S, Control, open_control
from tests.operations.sabotage import Mode, Saboteur

pytestmark = pytest.mark.thorough
VERBS = [verb for verb in Verb if verb.endswith("_image") and verb is not Verb.PUBLISH_IMAGE]
# What the image is after the operation has had its effect.
AFTER = {
    Verb.PREPARE_IMAGE: ImageState.READY,
    Verb.WARM_IMAGE: ImageState.READY,
    Verb.IMPORT_IMAGE: ImageState.READY,
    Verb.DELETE_IMAGE: ImageState.ABSENT,
}


@pytest.fixture
def saboteur() -> Saboteur:
    return Saboteur()


@pytest.fixture
async def control(database_url: str, node: Node, saboteur: Saboteur) -> AsyncIterator[Control]:
    async with open_control(database_url, node, tables=saboteur.tables()) as opened:
        yield opened


async def prepare(control: Control, verb: Verb, folder: Path) -> tuple[str, dict[str, Any]]:
    """The image to work on, and what the operation needs to know."""
    if verb is Verb.IMPORT_IMAGE:
        source = folder / "disk.raw"
        source.write_bytes(bytes(512))
        return "mine", {"path": str(source), "image_format": "raw"}
    if verb is Verb.DELETE_IMAGE:
        await control.do(Verb.PREPARE_IMAGE, "debian-12")
    if verb is Verb.WARM_IMAGE:
        return "debian-12", {"plan": "entry-1", "resources": asdict(Resources(1, 256, 2, 100))}
    return "debian-12", {}


async def state_of(control: Control, name: str) -> ImageState:
    states = {image.name: image.state for image in await control.node.images()}
    assert set(states.values()) <= {ImageState.READY, ImageState.ABSENT}, "nothing is half there"
    return states.get(name, ImageState.ABSENT)


@pytest.mark.parametrize("verb", VERBS)
async def test_failing_before_its_effect_changes_nothing(
    control: Control, saboteur: Saboteur, folder: Path, verb: Verb
) -> None:
    name, params = await prepare(control, verb, folder)
    for step in TABLES[verb].steps:
        before = await state_of(control, name)
        saboteur.aim(verb, step.name, Mode.FAIL_BEFORE)
        ended = await control.do(verb, name, **params)
        assert ended.state is OperationState.FAILED
        assert await state_of(control, name) is before


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("mode", [Mode.FAIL_AFTER, Mode.HANG_AFTER])
async def test_cut_off_after_its_effect_it_can_be_repeated(
    control: Control, saboteur: Saboteur, folder: Path, verb: Verb, mode: Mode
) -> None:
    name, params = await prepare(control, verb, folder)
    for step in TABLES[verb].steps:
        if step.final and mode is Mode.HANG_AFTER:
            continue  # it cannot be cancelled: nothing could bring back what it took
        saboteur.aim(verb, step.name, mode)
        operation = await control.accept(verb, name, **params)
        if mode is Mode.HANG_AFTER:
            async with asyncio.timeout(PATIENCE_S):
                await saboteur.reached.wait()
            await control.engine.cancel("default", operation.id)
        ended = await control.wait(operation)
        wanted = OperationState.FAILED if mode is Mode.FAIL_AFTER else OperationState.CANCELLED
        assert ended.state is wanted
        assert await state_of(control, name) is AFTER[verb], "whole, not half"
    saboteur.aim(None, "", Mode.TWICE)
    again = await control.do(verb, name, **params)
    assert again.state is OperationState.SUCCEEDED, again.error


@pytest.mark.parametrize("verb", VERBS)
async def test_every_step_twice(control: Control, saboteur: Saboteur, folder: Path, verb: Verb) -> None:
    name, params = await prepare(control, verb, folder)
    saboteur.aim(verb, "", Mode.TWICE)
    ended = await control.do(verb, name, **params)
    assert ended.state is OperationState.SUCCEEDED, ended.error
    assert await state_of(control, name) is AFTER[verb]
