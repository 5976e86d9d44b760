"""Firewalls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from insula.client.connection import Connection, path_of
from insula.client.decode import build
from insula.domain.firewall import Action, Direction, Rule, Traffic
from insula.domain.project_firewall import ProjectFirewall


@dataclass(frozen=True)
class Verdict:
    """What becomes of a connection. `rule` is the deciding rule's position in `firewall`, 0 for its default."""

    passes: bool
    stage: str
    why: str
    firewall: str = ""
    rule: int = 0


@dataclass(frozen=True)
class RuleTraffic:
    """What matched a rule since its network stands."""

    packets: int
    byte_count: int


class Firewalls:
    """Who may reach which instances; `firewall` is a name or an id. Changes are in force when a method returns."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> list[ProjectFirewall]:
        """In the order in which they are asked."""
        return [build(ProjectFirewall, item) for item in self._connection.pages(path_of("firewalls"))]

    def get(self, firewall: str) -> ProjectFirewall:
        return build(ProjectFirewall, self._connection.get(path_of("firewalls", firewall)))

    def create(
        self,
        name: str,
        rules: Sequence[Rule] = (),
        *,
        instances: Sequence[str] = (),
        tags: Sequence[str] = (),
        inbound_default: Action = Action.DROP,
        outbound_default: Action = Action.ACCEPT,
    ) -> ProjectFirewall:
        """Ids of new rules are empty; networks and firewalls as peers are named by name or id."""
        body = {
            "name": name,
            "rules": [asdict(rule) for rule in rules],
            "instances": list(instances),
            "tags": list(tags),
            "inbound_default": inbound_default,
            "outbound_default": outbound_default,
        }
        return self._changed("POST", path_of("firewalls"), body)

    def change(self, firewall: str, **changes: Any) -> ProjectFirewall:
        """`name`, `rules` (in the place of all that there are), `inbound_default`, `outbound_default`."""
        if "rules" in changes:
            changes["rules"] = [asdict(rule) for rule in changes["rules"]]
        return self._changed("PATCH", path_of("firewalls", firewall), changes)

    def delete(self, firewall: str) -> None:
        """Raises Conflict while a rule of another one names it."""
        self._connection.request("DELETE", path_of("firewalls", firewall))

    def add_rule(self, firewall: str, rule: Rule, *, position: int | None = None) -> ProjectFirewall:
        """Before the one at `position` (from 1); by default it is asked last."""
        body = {"rule": asdict(rule), **({} if position is None else {"position": position})}
        return self._changed("POST", path_of("firewalls", firewall, "rules"), body)

    def remove_rule(self, firewall: str, rule: str) -> ProjectFirewall:
        """`rule` is an id or a position. Connections that it let in go on."""
        return self._changed("DELETE", path_of("firewalls", firewall, "rules", rule), None)

    def apply(self, firewall: str, *, instances: Sequence[str] = (), tags: Sequence[str] = ()) -> ProjectFirewall:
        """Let it apply to these as well."""
        body = {"instances": list(instances), "tags": list(tags)}
        return self._changed("POST", path_of("firewalls", firewall, "apply"), body)

    def lift(self, firewall: str, *, instances: Sequence[str] = (), tags: Sequence[str] = ()) -> ProjectFirewall:
        """Let it apply to these no more."""
        body = {"instances": list(instances), "tags": list(tags)}
        return self._changed("POST", path_of("firewalls", firewall, "lift"), body)

    def traffic(self, firewall: str) -> Mapping[str, RuleTraffic]:
        """By the rules' ids."""
        found = self._connection.get(path_of("firewalls", firewall, "traffic"))["rules"]
        return {rule: build(RuleTraffic, count) for rule, count in found.items()}

    def test(
        self,
        instance: str,
        peer: str,
        *,
        direction: Direction = Direction.INBOUND,
        traffic: Traffic = Traffic.TCP,
        port: int = 22,
    ) -> Verdict:
        """Whether `peer`, an address or an instance, reaches the instance, or outbound is reached by it, and why."""
        body = {"instance": instance, "peer": peer, "direction": direction, "traffic": traffic, "port": port}
        return build(Verdict, self._connection.request("POST", path_of("firewall-test"), body=body))

    def _changed(self, method: str, path: str, body: Mapping[str, Any] | None) -> ProjectFirewall:
        return build(ProjectFirewall, self._connection.request(method, path, body=body))
