"""What Insula has no feature for: empty lists, and a refusal for what would make something."""

from __future__ import annotations

from insula.base.errors import Unsupported
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.linode.dialect import DIALECT, page

# The path, and what the specification calls listing and creating.
_EMPTY = (
    ("/account/invoices", "account.invoices-list", ""),
    ("/account/payment-methods", "payment-methods.list", ""),
    ("/account/payments", "account.payments-list", "account.payment-create"),
    ("/account/logins", "account.logins-list", ""),
    ("/account/maintenance", "account.maintenance-list", ""),
    ("/account/notifications", "account.notifications-list", ""),
    ("/account/oauth-clients", "account.clients-list", "account.client-create"),
    ("/account/betas", "betas.enrolled", "betas.enroll"),
    ("/account/child-accounts", "child-account.list", ""),
    ("/account/entity-transfers", "entity-transfers.list", "entity-transfers.create"),
    ("/account/service-transfers", "service-transfers.list", "service-transfers.create"),
    ("/betas", "betas.list", ""),
    ("/databases/instances", "databases.list", ""),
    ("/domains", "domains.list", "domains.create"),
    ("/linode/stackscripts", "stackscripts.list", "stackscripts.create"),
    ("/lke/clusters", "lke.clusters-list", "lke.cluster-create"),
    ("/longview/clients", "longview.list", "longview.create"),
    ("/longview/subscriptions", "longview.subscriptions-list", ""),
    ("/managed/services", "managed.services-list", "managed.service-create"),
    ("/networking/ipv6/pools", "networking.v6-pools", ""),
    ("/networking/ipv6/ranges", "networking.v6-ranges", "networking.v6-range-create"),
    ("/networking/vlans", "vlans.list", ""),
    ("/nodebalancers", "nodebalancers.list", "nodebalancers.create"),
    ("/object-storage/buckets", "object-storage.buckets-list", "object-storage.bucket-create"),
    ("/object-storage/keys", "object-storage.keys-list", "object-storage.keys-create"),
    ("/placement/groups", "placement.groups-list", "placement.group-create"),
    ("/profile/apps", "profile.apps-list", ""),
    ("/profile/devices", "profile.devices-list", ""),
    ("/profile/logins", "profile.logins-list", ""),
    ("/support/tickets", "tickets.list", "tickets.create"),
    ("/vpcs/ipv6s", "vpcs.ipv6s-all-list", ""),
)


async def _list_nothing(ask: Ask) -> Answer:
    return page(ask, [])


async def _refuse(ask: Ask) -> Answer:
    what = ask.url.rpartition("/")[2]
    raise Unsupported(f"There are no {what} here", why="Insula has no such feature", todo="Do without them")


for _path, _list, _create in _EMPTY:
    DIALECT.operation("GET", _path, _list)(_list_nothing)
    if _create:
        DIALECT.operation("POST", _path, _create)(_refuse)
EMPTY = frozenset(listing for _, listing, _ in _EMPTY)
REFUSED = frozenset(creating for _, _, creating in _EMPTY if creating)
