"""The files of a NoCloud seed, without its secrets: host keys are not told, since any program of a guest may ask.

Source: cloud-init's NoCloud data source, whose `seedfrom` may name this address.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from insula.node.agent.metadata_shapes.ask import READ_ONLY, Answer, Ask
from insula.node.agent.metadata_shapes.subject import Subject
from insula.node.agent.metadata_shapes.tokens import Tokens


def files(subject: Subject) -> Mapping[str, bytes]:
    """By their names."""
    spec = subject.spec
    facts = {"instance-id": spec.id, "local-hostname": spec.hostname, "public-keys": list(spec.ssh_keys)}
    return {
        "meta-data": json.dumps(facts, indent=1).encode() + b"\n",  # JSON is YAML
        "user-data": spec.user_data.encode(),
        "vendor-data": b"",
    }


def answer(ask: Ask, subject: Subject, tokens: Tokens) -> Answer | None:
    """None for what is no such file."""
    found = files(subject).get(ask.path.removeprefix("/"))
    if found is None:
        return None
    return Answer(found) if ask.method == "GET" else READ_ONLY
