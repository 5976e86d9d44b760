"""What tests of Linode's API ask for again and again."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.api.probes import PUBLIC_KEY
from tests.dialects.contract import Contract

PATIENCE_S = 60.0
CREATE = {
    "type": "g6-nanode-1",
    "region": "us-east",
    "image": "linode/tiny",
    "authorized_keys": [PUBLIC_KEY],
}


async def linode(contract: Contract, label: str, **wish: Any) -> dict[str, Any]:
    """One that runs."""
    made = await contract.ask("linodes.create", json={**CREATE, "label": label, **wish})
    return await reaches(contract, made["id"], "running")


async def reaches(contract: Contract, number: int, status: str) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = dict(await contract.ask("linodes.view", number))
            if found["status"] == status:
                return found
            await asyncio.sleep(0.02)


async def listed(contract: Contract, name: str, *places: object, where: Any = None) -> list[dict[str, Any]]:
    headers = {} if where is None else {"X-Filter": json.dumps(where)}
    return list((await contract.ask(name, *places, headers=headers))["data"])
