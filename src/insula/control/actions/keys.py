"""SSH public keys that instances can be created with."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from insula.base.clock import now_utc
from insula.control.actions.caller import ACTIONS, Audit, Caller, Page, action, audit_line
from insula.control.actions.faults import Faults
from insula.control.actions.signing import SigningKeys
from insula.control.actions.ssh_keys import PublicKey, parse_public_key
from insula.control.store import Store
from insula.domain.access import Scope, SshKey
from insula.domain.ids import Kind, new_id
from insula.domain.names import check_name


@dataclass(frozen=True)
class ProjectKey:
    """The key pair that a project has without making one; the private half is OpenSSH's."""

    public_key: str
    private_key: str = field(repr=False)


class KeyActions:
    def __init__(self, store: Store, signing: SigningKeys) -> None:
        self.store = store
        self._signing = signing

    def public_key_of_project(self, caller: Caller) -> str:
        """The public half of the project's own key pair, which is always the same."""
        return _public(self._own_key(caller), caller)

    async def key_of_project(self, caller: Caller) -> ProjectKey:
        """Both halves. Nothing of it is stored: it is derived anew.

        It opens the guests that were made with it, so this raises Forbidden unless the caller may run programs there.
        """
        ACTIONS["guest.exec"].authorize(caller)
        await self.store.audit.append(audit_line(caller, "keys.of_project", caller.project, "done"))
        key = self._own_key(caller)
        form, encoding = serialization.PrivateFormat.OpenSSH, serialization.Encoding.PEM
        private = key.private_bytes(encoding, form, serialization.NoEncryption()).decode()
        return ProjectKey(_public(key, caller), private)

    def _own_key(self, caller: Caller) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self._signing.derived(f"ssh key of project {caller.project}"))

    @action("keys.list", Scope.KEYS_READ, audit=Audit.NEVER)
    async def list(self, caller: Caller) -> Page[SshKey]:
        return Page(tuple(await self.store.keys.list(caller.project)))

    @action("keys.show", Scope.KEYS_READ, audit=Audit.NEVER)
    async def show(self, caller: Caller, key: str) -> SshKey:
        return await self.store.keys.get(caller.project, key)

    @action("keys.add", Scope.KEYS_WRITE, audit=Audit.AFTER)
    async def add(self, caller: Caller, name: str, public_key: str) -> SshKey:
        """Raises InvalidInput for what is no public key, Conflict when the name is taken."""
        faults = Faults()
        parsed: PublicKey | None = None
        with faults.of("name"):
            check_name(name)
        with faults.of("public_key"):
            parsed = parse_public_key(public_key)
        faults.raise_if_any("The key cannot be added")
        assert parsed is not None  # noqa: S101 - otherwise there was a fault
        key = SshKey(new_id(Kind.KEY), caller.project, name, parsed.text, parsed.fingerprint, now_utc())
        return await self.store.keys.add(key)

    @action("keys.rename", Scope.KEYS_WRITE, audit=Audit.AFTER)
    async def rename(self, caller: Caller, key: str, name: str) -> SshKey:
        """Raises InvalidInput, NotFound, and Conflict when the name is taken."""
        return await self.store.keys.rename(caller.project, key, check_name(name))

    @action("keys.delete", Scope.KEYS_WRITE, audit=Audit.AFTER)
    async def delete(self, caller: Caller, key: str) -> None:
        """Instances that were created with it keep it."""
        found = await self.store.keys.get(caller.project, key)
        await self.store.keys.delete(caller.project, found.id)


def _public(key: Ed25519PrivateKey, caller: Caller) -> str:
    form, encoding = serialization.PublicFormat.OpenSSH, serialization.Encoding.OpenSSH
    return f"{key.public_key().public_bytes(encoding, form).decode()} {caller.project}"
