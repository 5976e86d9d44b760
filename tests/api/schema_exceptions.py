"""What schemathesis may not hold against an endpoint, each with its reason; at most five."""

from __future__ import annotations

from collections.abc import Mapping

MOST = 5

# (endpoint, failure) → reason
EXCEPTIONS: Mapping[tuple[str, str], str] = {
    (
        "POST /v1/instances",
        "RejectedPositiveData",
    ): "whether an image, a plan or a stored key of that name exists, and what is YAML, no schema can say",
    (
        "POST /v1/backup-stores",
        "RejectedPositiveData",
    ): "which fields each kind of place needs, and which folders there are, the schema does not say",
    ("POST /v1/backup-stores", "ServerError"): "places that do not answer are Unavailable",
    ("POST /v1/keys", "RejectedPositiveData"): "what is a key inside the base64 text no schema can say",
    ("POST /v1/instances/{instance}/exec", "RejectedPositiveData"): (
        "only the first argument, the program, may not be empty; generators do not know prefixItems"
    ),
}
