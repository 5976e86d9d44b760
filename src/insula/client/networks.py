"""Networks."""

from __future__ import annotations

from collections.abc import Sequence

from insula.client.connection import Connection, path_of
from insula.client.decode import build
from insula.domain.project_network import ProjectNetwork


class Networks:
    """What instances are in; `network` is a name or an id."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> list[ProjectNetwork]:
        """The first one is where instances are that name none."""
        return [build(ProjectNetwork, item) for item in self._connection.pages(path_of("networks"))]

    def get(self, network: str) -> ProjectNetwork:
        return build(ProjectNetwork, self._connection.get(path_of("networks", network)))

    def create(self, name: str, *, ipv4: str = "", ipv6: str = "", gateway: bool = True) -> ProjectNetwork:
        """Prefixes that are empty are chosen, `none` leaves one out. Without `gateway` it leads nowhere outside."""
        body = {"name": name, "ipv4": ipv4, "ipv6": ipv6, "gateway": gateway}
        return build(ProjectNetwork, self._connection.request("POST", path_of("networks"), body=body))

    def change(self, network: str, *, name: str | None = None, gateway: bool | None = None) -> ProjectNetwork:
        """Rename it, let it lead outside or no more; None leaves it."""
        body = {key: value for key, value in (("name", name), ("gateway", gateway)) if value is not None}
        return build(ProjectNetwork, self._connection.request("PATCH", path_of("networks", network), body=body))

    def join(self, network: str, other: str) -> None:
        """Let two networks reach each other. May be repeated."""
        self._connection.request("POST", path_of("networks", network, "join"), body={"network": other})

    def part(self, network: str, other: str) -> None:
        """Let them reach each other no more; connections that stand go on. May be repeated."""
        self._connection.request("POST", path_of("networks", network, "part"), body={"network": other})

    def joined(self) -> Sequence[tuple[str, str]]:
        """Pairs of ids of networks that reach each other."""
        return [(item["one"], item["other"]) for item in self._connection.get(path_of("network-joins"))["items"]]

    def delete(self, network: str) -> None:
        """Raises Conflict while an instance is in it."""
        self._connection.request("DELETE", path_of("networks", network))
