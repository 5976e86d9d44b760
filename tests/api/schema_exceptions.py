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
    Exemption("POST /v1/backup-stores", "ServerError", "places that do not answer are Unavailable"),
    Exemption(
        "POST /v1/instances/{instance}/exec",
        "RejectedPositiveData",
        "only the first argument, the program, may not be empty; generators do not know prefixItems",
    ),
    Exemption(
        r"GET /v1/(host|instances/\{instance\})/metrics",
        "AcceptedNegativeData",
        "an empty parameter counts as left out, and an empty text is no time",
    ),
)
# How a refusal of the parser begins. All others are about what exists and which fields go together (images, keys, free
# prefixes, a disk that can only grow), which no schema says.
_BY_THE_PARSER = '"detail":"The request '
_ZERO = "contains a zero byte"  # no database takes one, and saying so of every text would make no schema clearer


def is_exempt(endpoint: str, failure: str, told: str) -> bool:
    """Whether this failure of `METHOD /path` is known. `told` is what schemathesis tells of it, with the answer."""
    if failure == "RejectedPositiveData" and (_BY_THE_PARSER not in told or _ZERO in told):
        return True
    return any(one.failure == failure and re.fullmatch(one.endpoints, endpoint) for one in EXEMPTIONS)
