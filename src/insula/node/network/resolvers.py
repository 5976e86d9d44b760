"""The name servers of this host that another network namespace reaches as well."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from pathlib import Path

# systemd-resolved and NetworkManager put a name server of their own on the loopback, and tell here whom they ask.
FILES = (
    Path("/etc/resolv.conf"),
    Path("/run/systemd/resolve/resolv.conf"),
    Path("/run/NetworkManager/no-stub-resolv.conf"),
)


def name_servers(own: Iterable[str], files: Iterable[Path] = FILES) -> tuple[str, ...]:
    """Those of the first file that names any, without the loopback's and `own`, the host's addresses. Blocking."""
    mine = set(own)
    for path in files:
        try:
            lines = path.read_text(errors="replace").splitlines()
        except OSError:
            continue
        found = [words[1] for words in map(str.split, lines) if len(words) > 1 and words[0] == "nameserver"]
        if usable := tuple(dict.fromkeys(text for text in found if _is_elsewhere(text) and text not in mine)):
            return usable
    return ()


def _is_elsewhere(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:  # with a scope, or nonsense
        return False
    return not (address.is_loopback or address.is_link_local or address.is_unspecified)
