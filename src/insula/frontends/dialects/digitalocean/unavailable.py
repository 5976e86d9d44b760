"""What Insula has no feature for: empty lists, and a refusal for what would make something."""

from __future__ import annotations

from insula.base.errors import Unsupported
from insula.frontends.dialects.dialect import Answer, Ask, Run
from insula.frontends.dialects.digitalocean.dialect import DIALECT, page

# The path, the list's name, and what the specification calls listing and creating.
_EMPTY = (
    ("/v2/domains", "domains", "domains_list", "domains_create"),
    ("/v2/load_balancers", "load_balancers", "loadBalancers_list", "loadBalancers_create"),
    ("/v2/certificates", "certificates", "certificates_list", "certificates_create"),
    ("/v2/cdn/endpoints", "endpoints", "cdn_list_endpoints", "cdn_create_endpoint"),
    ("/v2/kubernetes/clusters", "kubernetes_clusters", "kubernetes_list_clusters", "kubernetes_create_cluster"),
    ("/v2/databases", "databases", "databases_list_clusters", "databases_create_cluster"),
    ("/v2/apps", "apps", "apps_list", "apps_create"),
    ("/v2/uptime/checks", "checks", "uptime_list_checks", "uptime_create_check"),
    ("/v2/monitoring/alerts", "policies", "monitoring_list_alertPolicy", "monitoring_create_alertPolicy"),
    ("/v2/droplets/autoscale", "autoscale_pools", "autoscalepools_list", "autoscalepools_create"),
    ("/v2/vpc_peerings", "vpc_peerings", "vpcPeerings_list", "vpcPeerings_create"),
    ("/v2/reserved_ipv6", "reserved_ipv6s", "reservedIPv6_list", "reservedIPv6_create"),
    ("/v2/1-clicks", "1_clicks", "oneClicks_list", ""),
)


def _lister(name: str) -> Run:
    async def list_nothing(ask: Ask) -> Answer:
        return page(ask, name, [], 0)

    return list_nothing


def _refuser(what: str) -> Run:
    async def refuse(ask: Ask) -> Answer:
        raise Unsupported(f"There are no {what} here", why="Insula has no such feature", todo="Do without them")

    return refuse


for _path, _name, _list, _create in _EMPTY:
    DIALECT.operation("GET", _path, _list)(_lister(_name))
    if _create:
        DIALECT.operation("POST", _path, _create)(_refuser(_name.replace("_", " ")))
DIALECT.operation("POST", "/v2/images", "images_create_custom")(_refuser("images from elsewhere yet"))
EMPTY = frozenset(listing for _, _, listing, _ in _EMPTY)
REFUSED = frozenset(creating for _, _, _, creating in _EMPTY if creating) | {"images_create_custom"}
