"""Who asks, and what they may: projects, scopes, identities, tokens, keys."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

DEFAULT_PROJECT = "default"
LEASE_SUBJECT = "system:lease"  # whose wish it is that an instance is deleted when its lease ends
SCHEDULE_SUBJECT = "system:schedule"  # whose wish backups, deletions and drills by schedule are


class Scope(StrEnum):
    """What a caller may do. `*:write` includes `*:read` of the same resource; ADMIN includes everything."""

    INSTANCES_READ = "instances:read"
    INSTANCES_WRITE = "instances:write"
    INSTANCES_EXEC = "instances:exec"  # exec, files, console: root inside the guest
    IMAGES_READ = "images:read"
    IMAGES_WRITE = "images:write"
    VOLUMES_READ = "volumes:read"
    VOLUMES_WRITE = "volumes:write"
    SNAPSHOTS_READ = "snapshots:read"
    SNAPSHOTS_WRITE = "snapshots:write"
    BACKUPS_READ = "backups:read"
    BACKUPS_WRITE = "backups:write"
    BACKUPS_FILES = "backups:files"  # what is in them: as good as root inside the guest
    BACKUPS_KEY = "backups:key"  # the key that opens all backups of a store, wherever it is
    NETWORKS_READ = "networks:read"
    NETWORKS_WRITE = "networks:write"
    FIREWALLS_READ = "firewalls:read"
    FIREWALLS_WRITE = "firewalls:write"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"
    OPERATIONS_READ = "operations:read"
    OPERATIONS_WRITE = "operations:write"
    HOST_READ = "host:read"
    HOST_WRITE = "host:write"
    AUDIT_READ = "audit:read"
    TOKENS_WRITE = "tokens:write"
    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    ADMIN = "admin"


@dataclass(frozen=True)
class Identity:
    """An authenticated caller. `project` is the one this request works in."""

    subject: str  # "local:root", "local:alice", "token:ci", "user:ada"
    project: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Whether this identity holds `scope`, directly or through a wider one."""
        if Scope.ADMIN in self.scopes or scope in self.scopes:
            return True
        resource, _, action = scope.partition(":")
        return action == "read" and any(held == f"{resource}:write" for held in self.scopes)


@dataclass(frozen=True)
class Project:
    name: str
    created_at: datetime


@dataclass(frozen=True)
class Token:
    """A token's record; the secret itself is shown once and kept only as a hash."""

    id: str
    name: str
    project: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked: bool


@dataclass(frozen=True)
class SshKey:
    """A public key. `fingerprint` is OpenSSH's SHA256 form."""

    id: str
    project: str
    name: str
    public_key: str
    fingerprint: str
    created_at: datetime


@dataclass(frozen=True)
class AuditEntry:
    """Who did what. Append-only: `digest` covers the entry and the digest before it."""

    sequence: int
    at: datetime
    subject: str
    project: str
    action: str
    target: str
    outcome: str
    request_id: str
    digest: str
