"""The account: the project that a token belongs to, and who asks as its user."""

from __future__ import annotations

from typing import Any

import msgspec

from insula.base.errors import Unsupported
from insula.frontends.dialects.backup_place import backup_place
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.linode.dialect import DIALECT, page
from insula.frontends.dialects.records import project_uuid, unknown

_EPOCH = "1970-01-01T00:00:00"
_BACKUPS = "backups_enabled"
POLICY = "linode/migrate"  # the only one of theirs that is told


class _Settings(msgspec.Struct):
    backups_enabled: bool | None = None
    network_helper: bool | None = None
    maintenance_policy: str | None = None


def username(ask: Ask) -> str:
    return ask.caller.identity.subject.replace(":", ".")


def email(ask: Ask) -> str:
    return f"{username(ask)}@{ask.caller.identity.project}.insula"


@DIALECT.operation("GET", "/account", "account.view")
async def get_account(ask: Ask) -> Answer:
    project = ask.caller.identity.project
    unused = ("address_1", "address_2", "city", "country", "first_name", "last_name", "phone", "state", "tax_id", "zip")
    return Answer(
        {
            **dict.fromkeys(unused, ""),
            "active_promotions": [],
            "active_since": _EPOCH,
            "balance": 0.0,
            "balance_uninvoiced": 0.0,
            "billing_source": "linode",
            "capabilities": ["Linodes", "Block Storage", "Cloud Firewall", "VPCs"],
            "company": project,
            "credit_card": {"expiry": None, "last_four": None},
            "email": email(ask),
            "euuid": project_uuid(project),
        }
    )


async def backs_up_all(ask: Ask) -> bool:
    """Whether new Linodes get backups without being asked."""
    return (await ask.actions.aliases.of_project(ask.caller)).get(_BACKUPS) == "yes"


async def _settings(ask: Ask) -> dict[str, Any]:
    return {
        "backups_enabled": await backs_up_all(ask),
        "interfaces_for_new_linodes": "legacy_config_only",
        "longview_subscription": None,
        "maintenance_policy": POLICY,
        "managed": False,
        "network_helper": False,
        "object_storage": "disabled",
        "tfa_enforced": False,
    }


@DIALECT.operation("GET", "/account/settings", "account.settings")
async def get_settings(ask: Ask) -> Answer:
    return Answer(await _settings(ask))


@DIALECT.operation("PUT", "/account/settings", "account.settings-update")
async def update_settings(ask: Ask) -> Answer:
    """Whether new Linodes get backups; the others are as they are, and saying so again is no change."""
    wish = ask.read(_Settings)
    if wish.network_helper or wish.maintenance_policy not in (None, POLICY):
        raise Unsupported(
            "These settings cannot be changed",
            why="Guests configure their own network, and there is one host",
            todo="Leave them as they are",
        )
    if wish.backups_enabled:
        await backup_place(ask)
    if wish.backups_enabled not in (None, await backs_up_all(ask)):
        await ask.actions.aliases.describe_project(ask.caller, {_BACKUPS: "yes" if wish.backups_enabled else ""})
    return Answer(await _settings(ask))


@DIALECT.operation("GET", "/maintenance/policies", "maintenance.policies-list")
async def list_policies(ask: Ask) -> Answer:
    """There is one host, which nothing moves away from."""
    policy = {
        "slug": POLICY,
        "label": "Migrate",
        "description": "Linodes stay on their host; whoever maintains it says when it stops.",
        "type": "migrate",
        "notification_period_sec": 0,
        "is_default": True,
    }
    return page(ask, [policy])


@DIALECT.operation("GET", "/account/transfer", "account.transfer")
async def get_transfer(ask: Ask) -> Answer:
    """Traffic costs nothing, so there is no quota."""
    return Answer({"billable": 0, "quota": 0, "used": 0, "region_transfers": []})


@DIALECT.operation("GET", "/network-transfer/prices", "network-transfer.prices")
async def list_transfer_prices(ask: Ask) -> Answer:
    free = {"hourly": 0.0, "monthly": 0.0}
    kind = {"id": "network_transfer", "label": "Network Transfer", "price": free, "region_prices": [], "transfer": 0}
    return page(ask, [kind])


def _user(ask: Ask, keys: list[str]) -> dict[str, Any]:
    return {
        "username": username(ask),
        "email": email(ask),
        "restricted": False,
        "ssh_keys": keys,
        "tfa_enabled": False,
        "tfa_enforced": False,
        "user_type": "default",
        "last_login": None,
        "password_created": None,
        "verified_phone_number": None,
    }


async def _key_names(ask: Ask) -> list[str]:
    return [key.name for key in (await ask.actions.keys.list(ask.caller)).items]


@DIALECT.operation("GET", "/account/users", "users.list")
async def list_users(ask: Ask) -> Answer:
    return page(ask, [_user(ask, await _key_names(ask))])


@DIALECT.operation("GET", "/account/users/{username}", "users.view")
async def get_user(ask: Ask) -> Answer:
    if ask.path["username"] != username(ask):
        raise unknown("user", ask.path["username"])
    return Answer(_user(ask, await _key_names(ask)))


@DIALECT.operation("GET", "/profile", "profile.view")
async def get_profile(ask: Ask) -> Answer:
    return Answer(
        {
            "username": username(ask),
            "email": email(ask),
            "uid": 1,
            "authentication_type": "password",
            "authorized_keys": [],
            "email_notifications": False,
            "ip_whitelist_enabled": False,
            "lish_auth_method": "disabled",
            "restricted": False,
            "timezone": "UTC",
            "two_factor_auth": False,
            "tfa_enforced": False,
            "verified_phone_number": None,
            "referrals": {"code": "", "url": "", "total": 0, "completed": 0, "pending": 0, "credit": 0},
        }
    )


@DIALECT.operation("GET", "/profile/grants", "profile.grants")
async def get_grants(ask: Ask) -> Answer:
    """Who is not restricted has none: 204, as there."""
    return Answer(status=204)
