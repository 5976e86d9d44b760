"""Reserved addresses and the pools that they are from."""

from __future__ import annotations

from collections.abc import Sequence

from insula.client.connection import Connection, path_of
from insula.client.decode import build
from insula.domain.address import AddressPool, Assignment, ReservedAddress


class Addresses:
    """Addresses of the outside; `address` is the address itself or its id."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> list[ReservedAddress]:
        """Those of the project."""
        return [build(ReservedAddress, item) for item in self._connection.pages(path_of("addresses"))]

    def get(self, address: str) -> ReservedAddress:
        return build(ReservedAddress, self._connection.get(path_of("addresses", address)))

    def reserve(self, address: str = "", *, pool: str = "", version: int = 4, instance: str = "") -> ReservedAddress:
        """That one, or a free one of the pool, or of any pool of the version; it leads to `instance` if named."""
        body = {"address": address, "pool": pool, "version": version, "instance": instance}
        return build(ReservedAddress, self._connection.request("POST", path_of("addresses"), body=body))

    def assign(self, address: str, instance: str) -> ReservedAddress:
        """Let it lead to the instance. May be repeated."""
        path = path_of("addresses", address, "assign")
        return build(ReservedAddress, self._connection.request("POST", path, body={"instance": instance}))

    def unassign(self, address: str) -> ReservedAddress:
        """Let it lead nowhere. May be repeated."""
        return build(ReservedAddress, self._connection.request("POST", path_of("addresses", address, "unassign")))

    def release(self, address: str) -> None:
        """Give it back. Raises Conflict while it leads to an instance."""
        self._connection.request("DELETE", path_of("addresses", address))

    def history(self, address: str) -> Sequence[Assignment]:
        """The instances that it led to, the last one first."""
        return [
            build(Assignment, item) for item in self._connection.get(path_of("addresses", address, "history"))["items"]
        ]

    def pools(self) -> Sequence[AddressPool]:
        """All pools of all hosts."""
        return [build(AddressPool, item) for item in self._connection.get(path_of("address-pools"))["items"]]

    def add_pool(self, name: str, addresses: str, *, node: str = "") -> AddressPool:
        """`addresses` are a prefix, a range like 192.0.2.64-192.0.2.80, or a single one."""
        body = {"name": name, "addresses": addresses, "node": node}
        return build(AddressPool, self._connection.request("POST", path_of("address-pools"), body=body))

    def delete_pool(self, pool: str) -> None:
        """Raises Conflict while an address of it is reserved."""
        self._connection.request("DELETE", path_of("address-pools", pool))
