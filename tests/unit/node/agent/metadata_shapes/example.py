"""An instance with two cards, about which these tests ask."""

from __future__ import annotations

from insula.domain.instance import Resources
from insula.domain.network import Member, Network, PublicAddress, Space
from insula.domain.port import Port
from insula.node.agent.metadata_shapes.ask import Answer, Ask
from insula.node.agent.metadata_shapes.speak import respond
from insula.node.agent.metadata_shapes.subject import Subject, subject_of
from insula.node.agent.metadata_shapes.tokens import Tokens
from insula.protocol.node import InstanceSpec, Nic

KEYS = ("ssh-ed25519 AAAA ada@laptop", "ssh-ed25519 BBBB")
USER_DATA = "#cloud-config\n# Grüße\r\npackages: [nginx]\n"
MAC, FURTHER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"

SPEC = InstanceSpec(
    "ins_1",
    "default",
    "web1",
    "web1.example",
    "imported",
    Resources(2, 512, 10, 100),
    (Nic(MAC, "spc_1", "prt_1"), Nic(FURTHER_MAC, "spc_1", "prt_2")),
    KEYS,
    USER_DATA,
    number=4711,
)
SPACE = Space(
    "spc_1",
    (
        Network("net_1", 1, "10.42.0.0/16", "fd00:1::/64"),
        Network("net_2", 2, "10.43.0.0/24", "fd00:2::/64", gateway=False),
    ),
    (Member("ins_1", "web1", ("web", "env:test")), Member("ins_2", "web2", ("db",))),
    (
        Port("prt_1", 1, "ins_1", "net_1", MAC, "10.42.0.17", "fd00:1::11"),
        Port("prt_2", 2, "ins_1", "net_2", FURTHER_MAC, "10.43.0.18", "fd00:2::12"),
        Port("prt_3", 3, "ins_2", "net_1", "02:00:00:00:00:03", "10.42.0.19", "fd00:1::13"),
    ),
    addresses=(
        PublicAddress("203.0.113.5", "prt_1"),
        PublicAddress("203.0.113.6", "prt_1"),
        PublicAddress("203.0.113.7", "prt_3"),
    ),
)
SUBJECT = subject_of(SPEC, SPACE)


class Guest:
    """Asks as an instance's guest does."""

    def __init__(self, subject: Subject = SUBJECT, tokens: Tokens | None = None) -> None:
        self.subject = subject
        self.tokens = tokens or Tokens()

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Header names with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return respond(Ask(method, path, named), self.subject, self.tokens)

    def read(self, path: str, **headers: str) -> str:
        """The text that is there."""
        found = self.ask(path, **headers)
        assert found.status == 200, found
        return found.body.decode()
