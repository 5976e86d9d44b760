"""All forms at one address: their paths differ, so that each program is understood without being asked what it is."""

from __future__ import annotations

from insula.node.agent.metadata_shapes import akamai, digitalocean, ec2, nocloud
from insula.node.agent.metadata_shapes.ask import READ_ONLY, Answer, Ask
from insula.node.agent.metadata_shapes.subject import Subject
from insula.node.agent.metadata_shapes.tokens import Tokens

_ALL = (nocloud.answer, digitalocean.answer, akamai.answer, ec2.answer)
_OVERVIEW = "".join(
    f"{name}\n"
    for name in (
        *("meta-data", "user-data", "vendor-data"),
        *("metadata/v1/", "metadata/v1.json"),
        *("v1/instance", "v1/network", "v1/ssh-keys", "v1/token", "v1/user-data"),
        *(f"{version}/" for version in ec2.VERSIONS),
    )
)
_NOTHING = Answer(b"There is no such file; / lists what there is\n", 404)


def respond(ask: Ask, subject: Subject, tokens: Tokens) -> Answer:
    """What the guest of this instance gets."""
    if ask.path == "/":
        return Answer(_OVERVIEW.encode()) if ask.method == "GET" else READ_ONLY
    return next((found for answer in _ALL if (found := answer(ask, subject, tokens)) is not None), _NOTHING)
