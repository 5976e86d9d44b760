"""Endpoints of firewalls."""

from __future__ import annotations

from insula.control.actions.firewalls import Answer
from insula.domain.project_firewall import ProjectFirewall
from insula.frontends.api.endpoint import Call, answer, created, endpoint, gone, page_reply, part_of
from insula.frontends.api.firewall_schemas import (
    AddRule,
    Applies,
    ChangeFirewall,
    CreateFirewall,
    FirewallTraffic,
    TestFirewalls,
)
from insula.frontends.api.reply import Reply
from insula.frontends.api.schemas import Nothing, PageOf, PageQuery


@endpoint("GET", "/v1/firewalls", action="firewalls.list", asks=PageQuery, gives=PageOf[ProjectFirewall])
async def list_firewalls(call: Call[Nothing, PageQuery]) -> Reply:
    """List firewalls, in the order in which they are asked."""
    page = await call.actions.firewalls.list(call.caller)
    return page_reply("/v1/firewalls", call.query, part_of(page.items, call.query, lambda one: one.id))


@endpoint("POST", "/v1/firewalls", action="firewalls.create", takes=CreateFirewall, gives=ProjectFirewall, status=201)
async def create_firewall(call: Call[CreateFirewall, Nothing]) -> Reply:
    """Make a firewall; it is in force when this is answered."""
    made = await call.actions.firewalls.create(call.caller, call.body.to_wish())
    return created(made, f"/v1/firewalls/{made.id}")


@endpoint("GET", "/v1/firewalls/{firewall}", action="firewalls.show", gives=ProjectFirewall)
async def show_firewall(call: Call[Nothing, Nothing]) -> Reply:
    """Show a firewall, by name or id."""
    return answer(await call.actions.firewalls.show(call.caller, call.path["firewall"]))


@endpoint("PATCH", "/v1/firewalls/{firewall}", action="firewalls.change", takes=ChangeFirewall, gives=ProjectFirewall)
async def change_firewall(call: Call[ChangeFirewall, Nothing]) -> Reply:
    """Rename a firewall, change its defaults, or give it other rules."""
    found = await call.actions.firewalls.change(call.caller, call.path["firewall"], call.body.to_change())
    return answer(found)


@endpoint("DELETE", "/v1/firewalls/{firewall}", action="firewalls.delete", status=204)
async def delete_firewall(call: Call[Nothing, Nothing]) -> Reply:
    """Delete a firewall; its instances are open again unless another one applies."""
    await call.actions.firewalls.delete(call.caller, call.path["firewall"])
    return gone()


@endpoint(
    "POST",
    "/v1/firewalls/{firewall}/rules",
    action="firewalls.add_rule",
    takes=AddRule,
    gives=ProjectFirewall,
    status=201,
)
async def add_rule(call: Call[AddRule, Nothing]) -> Reply:
    """Add a rule to a firewall."""
    rule, name = call.body.rule.to_domain(), call.path["firewall"]
    found = await call.actions.firewalls.add_rule(call.caller, name, rule, call.body.position)
    return created(found, f"/v1/firewalls/{found.id}")


@endpoint("DELETE", "/v1/firewalls/{firewall}/rules/{rule}", action="firewalls.remove_rule", gives=ProjectFirewall)
async def remove_rule(call: Call[Nothing, Nothing]) -> Reply:
    """Remove a rule, by its id or position; connections that it let in go on."""
    return answer(await call.actions.firewalls.remove_rule(call.caller, call.path["firewall"], call.path["rule"]))


@endpoint("POST", "/v1/firewalls/{firewall}/apply", action="firewalls.apply", takes=Applies, gives=ProjectFirewall)
async def apply_firewall(call: Call[Applies, Nothing]) -> Reply:
    """Let a firewall apply to further instances and tags."""
    instances, tags = tuple(call.body.instances), tuple(call.body.tags)
    return answer(await call.actions.firewalls.apply(call.caller, call.path["firewall"], instances, tags))


@endpoint("POST", "/v1/firewalls/{firewall}/lift", action="firewalls.lift", takes=Applies, gives=ProjectFirewall)
async def lift_firewall(call: Call[Applies, Nothing]) -> Reply:
    """Let a firewall apply to some instances and tags no more."""
    instances, tags = tuple(call.body.instances), tuple(call.body.tags)
    return answer(await call.actions.firewalls.lift(call.caller, call.path["firewall"], instances, tags))


@endpoint("GET", "/v1/firewalls/{firewall}/traffic", action="firewalls.traffic", gives=FirewallTraffic)
async def show_traffic(call: Call[Nothing, Nothing]) -> Reply:
    """Show how much matched each rule of a firewall."""
    return answer(FirewallTraffic(await call.actions.firewalls.traffic(call.caller, call.path["firewall"])))


@endpoint("POST", "/v1/firewall-test", action="firewalls.test", takes=TestFirewalls, gives=Answer)
async def test_firewalls(call: Call[TestFirewalls, Nothing]) -> Reply:
    """Tell what becomes of a connection, and which rule decides."""
    return answer(await call.actions.firewalls.test(call.caller, call.body.to_question()))
