"""Asks one signed operation after the other, and holds every answer against the description that botocore brings."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from botocore.credentials import Credentials

from tests.api.world import World
from tests.dialects import signed
from tests.dialects.botoshapes import Service

ZONE = "us-east-1a"
_PATIENCE_S = 60.0

# Documented members that answers here never have, each with its reason.
NEVER = {
    "nextPageToken": "only when there are several pages, which has a test of its own",
    "nextPageCount": "the description calls it deprecated, and says to use nextPageToken",
    "errorCode": "only for what failed, which has a test of its own",
    "errorDetails": "only for what failed, which has a test of its own",
    "threshold": "the add-on that stops idle instances is not available",
    "duration": "the add-on that stops idle instances is not available",
    "gbInUse": "the description calls it deprecated",
    "autoMountStatus": "guests mount disks themselves",
    "impairedSince": "what runs is not impaired",
    "certKey": "no certificate is made for logging in",
    "expiresAt": "no certificate is made for logging in",
    "password": "there is none on Linux",
    "passwordData": "there is none on Linux",
    "privateKey": "nobody has it but who made it",
    "appCategory": "no image belongs to one",
    "productUrl": "images have none",
    "licenseUrl": "images have none",
}


@dataclass
class Contract:
    """`seen` are members of each operation's answers, `known` those that they could have had."""

    world: World
    service: Service
    credentials: Credentials
    seen: dict[str, set[str]] = field(default_factory=dict)
    known: dict[str, set[str]] = field(default_factory=dict)

    async def ask(self, name: str, **body: Any) -> Any:
        answer = await signed.ask(self.world, self.credentials, name, **body)
        assert answer.status_code == 200, f"{name}: {answer.status_code} {answer.text}"
        found = answer.json()
        assert self.service.problems(name, found) == [], name
        seen, known = self.service.members(name, found)
        self.seen.setdefault(name, set()).update(seen)
        self.known.setdefault(name, set()).update(known)
        return found

    async def refused(self, name: str, **body: Any) -> str:
        answer = await signed.ask(self.world, self.credentials, name, **body)
        assert answer.status_code == 400, f"{name}: {answer.status_code} {answer.text}"
        return str(answer.json()["__type"])

    async def done(self, name: str, **body: Any) -> list[dict[str, Any]]:
        """Ask for something, and its operations when they are over."""
        begun = await self.ask(name, **body)
        found = begun["operations"] if "operations" in begun else [begun["operation"]]
        return [await self.end(one["id"]) for one in found]

    async def end(self, operation: str, status: str = "Succeeded") -> dict[str, Any]:
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                found = dict((await self.ask("GetOperation", operationId=operation))["operation"])
                if found["isTerminal"]:
                    assert found["status"] == status, found
                    return found
                await asyncio.sleep(0.02)

    async def instance(self, name: str, **wish: Any) -> dict[str, Any]:
        """One that is there."""
        body = {"instanceNames": [name], "availabilityZone": ZONE, "blueprintId": "tiny", "bundleId": "nano_3_0"}
        (created,) = await self.done("CreateInstances", **body | wish)
        assert (created["operationType"], created["resourceName"]) == ("CreateInstance", name)
        return dict((await self.ask("GetInstance", instanceName=name))["instance"])

    async def gone(self, *names: str) -> None:
        for name in names:
            await self.done("DeleteInstance", instanceName=name)
