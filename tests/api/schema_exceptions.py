"""What schemathesis may not hold against an endpoint, each with its reason; at most five."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

MOST = 5


@dataclass(frozen=True)
class Exemption:
    """Endpoints (a pattern of method and path), the failure that they are allowed, and why."""

    endpoints: str
    failure: str
    reason: str


EXEMPTIONS: Sequence[Exemption] = (
    Exemption(
        "POST /v1/(instances|instances/{instance}/rebuild|volumes|networks|networks/{network}/join|address-pools|"
        "backup-stores)|(POST|PATCH) /v1/firewalls.*",
        "RejectedPositiveData",
        "what exists (images, plans, keys, folders, free prefixes) and which fields go together, no schema says",
    ),
    Exemption("POST /v1/backup-stores", "ServerError", "places that do not answer are Unavailable"),
    Exemption("POST /v1/keys", "RejectedPositiveData", "what is a key inside the base64 text no schema can say"),
    Exemption(
        "POST /v1/instances/{instance}/exec",
        "RejectedPositiveData",
        "only the first argument, the program, may not be empty; generators do not know prefixItems",
    ),
)


def is_exempt(endpoint: str, failure: str) -> bool:
    """Whether this failure of `METHOD /path` is known."""
    return any(one.failure == failure and re.fullmatch(one.endpoints, endpoint) for one in EXEMPTIONS)
