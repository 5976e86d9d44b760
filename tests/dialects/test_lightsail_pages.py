"""Lists of Lightsail's API in pages, what it says of what there is none of here, and odd images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import pytest_asyncio

from insula.domain.image import Image, Provisioning
from insula.frontends.dialects.lightsail.unavailable import LISTS, NAMES
from tests.api.world import World
from tests.dialects import signed
from tests.dialects.botoshapes import lightsail
from tests.dialects.signed_contract import Contract

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def contract(world: World) -> Contract:
    return Contract(world, lightsail(), await signed.key(world))


async def test_pages(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("insula.frontends.dialects.lightsail.dialect._PER_PAGE", 5)
    found: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = await contract.ask("GetBundles", **token)
        assert len(page["bundles"]) <= 5
        found += [one["bundleId"] for one in page["bundles"]]
        if "nextPageToken" not in page:
            break
        token = {"pageToken": page["nextPageToken"]}
    monkeypatch.undo()
    assert found == [one["bundleId"] for one in (await contract.ask("GetBundles"))["bundles"]]
    assert len(found) > 10
    assert await contract.refused("GetBundles", pageToken="?") == "InvalidInputException"


@pytest.mark.parametrize("name", sorted(NAMES))
async def test_what_is_not_supported_says_so(contract: Contract, name: str) -> None:
    if name == "GetSetupHistory":
        assert await contract.refused(name, resourceName="none") == "NotFoundException"
        await contract.world.create("plain")
        assert await contract.ask(name, resourceName="plain") == {"setupHistory": []}
        await contract.gone("plain")
    elif name in LISTS:
        assert list((await contract.ask(name)).values()) == [[]]
    else:
        assert await contract.refused(name) in {"NotFoundException", "OperationFailureException"}


async def test_an_image_that_reads_no_keys_gets_none(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    node = contract.world.control.node
    offered = node.images

    async def bare() -> Sequence[Image]:
        return [replace(image, provisioning=Provisioning.NONE) for image in await offered()]

    monkeypatch.setattr(node, "images", bare)
    made = await contract.instance("bare")
    assert "sshKeyName" not in made
    assert (await contract.world.store.instances.get("default", "bare")).ssh_keys == ()
    monkeypatch.undo()
    await contract.gone("bare")
