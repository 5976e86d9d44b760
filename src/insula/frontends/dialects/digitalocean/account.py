"""The account: the project that a token belongs to."""

from __future__ import annotations

from insula.domain.address import MAX_ADDRESSES
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.digitalocean.dialect import DIALECT
from insula.frontends.dialects.records import project_uuid

_MOST_INSTANCES = 10_000  # there is no limit of ours; theirs is a number


@DIALECT.operation("GET", "/v2/account", "account_get")
async def get_account(ask: Ask) -> Answer:
    identity = ask.caller.identity
    uuid = project_uuid(identity.project)
    account = {
        "droplet_limit": _MOST_INSTANCES,
        "floating_ip_limit": MAX_ADDRESSES,
        "email": f"{identity.subject.replace(':', '.')}@{identity.project}.insula",
        "name": identity.subject,
        "uuid": uuid,
        "email_verified": True,
        "status": "active",
        "status_message": "",
        "team": {"uuid": uuid, "name": identity.project},
    }
    return Answer({"account": account})
