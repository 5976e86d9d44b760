"""Options that several commands share, and what they turn typed text into."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from insula.base.errors import InvalidInput, NotFound
from insula.domain.firewall import Peer, PeerKind, PortRange
from insula.domain.instance import PortForward, Protocol

_UNITS_MIB = {"m": 1, "mb": 1, "mib": 1, "g": 1024, "gb": 1024, "gib": 1024, "t": 1024 * 1024, "tib": 1024 * 1024}
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}

_KEY_TYPES = ("ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-")


@dataclass(frozen=True)
class CreateWish:
    """The options of `create` and `launch`, ready for the client."""

    image: str
    snapshot: str
    keywords: dict[str, Any]
    own_key: bool


def create_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add every option that `create` and `launch` have; they arrive as one dict for :func:`read_create`."""
    options = [
        click.option("--image", default="", metavar="NAME", help="Image to boot; see `insula image list`."),
        click.option("--plan", default="", metavar="NAME", help="Size; see `insula plan list`."),
        click.option("--vcpus", type=int, help="Virtual processors, instead of the plan's."),
        click.option("--memory", metavar="SIZE", help="Memory, like 512M or 4G, instead of the plan's."),
        click.option("--disk", metavar="SIZE", help="Disk, like 20G, instead of the plan's."),
        click.option("--key", "keys", multiple=True, metavar="KEY", help="A stored key's name or a .pub file; repeat."),
        click.option("--no-own-key", is_flag=True, help="Leave out your own key; only --key counts."),
        click.option("--user-data", metavar="FILE", help="cloud-config or script for the first boot; - reads stdin."),
        click.option("--hostname", default="", help="The guest's host name; the instance's name otherwise."),
        click.option("--network", default="", metavar="NAME", help="Its network; the project's first one otherwise."),
        click.option("--forward", "forwards", multiple=True, metavar="[ADDRESS:]HOST:GUEST[/udp]", help="Open a port."),
        click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag; repeat."),
        click.option(
            "--lease", metavar="TIME", help="Delete it after that time, like 10m, unless renewed: insula lease."
        ),
        click.option("--protect", is_flag=True, help="Protect it against delete and rebuild."),
        click.option(
            "--firmware", type=click.Choice(["auto", "bios", "uefi"]), help="Firmware; the image's otherwise."
        ),
        click.option("--machine", type=click.Choice(["auto", "q35", "microvm"]), help="Kind of virtual hardware."),
        click.option(
            "--platform",
            type=click.Choice(["auto", "nocloud", "digitalocean", "akamai", "ec2"]),
            help="What its machine says that it is, for cloud-init in the image; the image's otherwise.",
        ),
        click.option("--cold", is_flag=True, help="Boot it, also where it could go on from a template or memory."),
        click.option("--snapshot", default="", metavar="NAME", help="Go on from this snapshot, as somebody else."),
        click.option("--restart", type=click.Choice(["always", "never"]), help="What to do when the machine dies."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def read_create(given: dict[str, Any]) -> CreateWish:
    """The options as the client takes them. Raises InvalidInput and NotFound that name the option."""
    rare = {
        "firmware": given["firmware"],
        "machine_type": given["machine"],
        "platform": given["platform"],
        "restart_policy": given["restart"],
    }
    return CreateWish(
        image=given["image"],
        snapshot=given["snapshot"],
        own_key=not given["no_own_key"],
        keywords={
            "image": given["image"],
            "plan": given["plan"],
            "vcpus": given["vcpus"],
            "memory_mib": memory_mib(given["memory"]),
            "disk_gib": disk_gib(given["disk"]),
            "ssh_keys": [read_key(key) for key in given["keys"]],
            "user_data": read_text(given["user_data"], "--user-data") if given["user_data"] else "",
            "hostname": given["hostname"],
            "forwards": [read_forward(text) for text in given["forwards"]],
            "tags": list(given["tags"]),
            "protected": given["protect"],
            "lease_s": None if given["lease"] is None else lease_s(given["lease"]),
            "cold": given["cold"],
            "snapshot": given["snapshot"],
            "network": given["network"],
            "options": {name: value for name, value in rare.items() if value},
        },
    )


def _size_mib(text: str, option: str) -> float:
    number = text.strip().lower().rstrip("bgimt")
    unit = text.strip().lower()[len(number) :]
    try:
        value = float(number) * _UNITS_MIB[unit]
    except (ValueError, KeyError):
        value = -1.0
    if not 0 < value < 1e12:
        raise InvalidInput(
            f"{option} {text} is not a size",
            why="A size is a number above 0 with its unit: M (mebibytes), G (gibibytes) or T",
            todo=f"Write it like {option} 4G",
            code="invalid-size",
        )
    return value


def memory_mib(text: str | None) -> int | None:
    """`512M`, `4G` → MiB."""
    return None if text is None else round(_size_mib(text, "--memory"))


def disk_gib(text: str | None) -> int | None:
    """`20G` → GiB; only whole ones."""
    return None if text is None else size_gib(text, "--disk")


def size_gib(text: str, option: str) -> int:
    """`20G` or `20` → GiB; only whole ones."""
    mib = _size_mib(f"{text}G" if text.isascii() and text.isdigit() else text, option)
    if mib % 1024:
        raise InvalidInput(
            f"{option} {text} is not a whole number of GiB",
            why="Disks are counted in GiB",
            todo=f"Write it like {option} {max(1, round(mib / 1024))}G",
            code="invalid-size",
        )
    return round(mib / 1024)


def lease_s(text: str) -> int:
    """`90s`, `10m`, `2h`, `1d` → seconds."""
    seconds = _seconds(text)
    if seconds is None:
        raise InvalidInput(
            f"{text} is not the length of a lease",
            why="It is a whole number with its unit: s, m, h or d; from 10s to 30d",
            todo="Write it like 10m",
            code="invalid-lease",
        )
    return seconds


def duration_s(text: str, option: str) -> int:
    """`90s`, `10m`, `2h`, `1d` → seconds, at least one."""
    seconds = _seconds(text)
    if not seconds:
        raise InvalidInput(
            f"{option} {text} is no length of time",
            why="It is a whole number with its unit: s, m, h or d",
            todo=f"Write it like {option} 24h",
            code="invalid-duration",
        )
    return seconds


def _seconds(text: str) -> int | None:
    number, unit = text[:-1], text[-1:].lower()
    if not (number.isascii() and number.isdigit() and len(number) < 10 and unit in _UNITS_S):
        return None
    return int(number) * _UNITS_S[unit]


def read_key(text: str) -> str:
    """A public key as typed, from a `.pub` file, or the name of a stored one as it is."""
    if " " in text:
        return text
    path = Path(text).expanduser()
    if "/" in text or text.endswith(".pub"):
        content = read_text(str(path), "--key")
        if "PRIVATE KEY" in content:
            raise InvalidInput(
                f"{path} is a private key",
                why="An instance gets the public half only; the private one never leaves you",
                todo=f"Give {path}.pub instead",
                code="private-key",
            )
        if not content.lstrip().startswith(_KEY_TYPES):
            # Looked at here, so that no other file's content is ever sent away.
            raise InvalidInput(
                f"{path} is not an SSH public key",
                why="It begins with none of ssh-ed25519, ecdsa-sha2-…, ssh-rsa, sk-…",
                todo="Give a file like ~/.ssh/id_ed25519.pub; `ssh-keygen -t ed25519` makes one",
                code="invalid-key",
            )
        return content.strip()
    return text


def read_text(path: str, option: str) -> str:
    """A text file's content; `-` is standard input."""
    try:
        if path == "-":
            return sys.stdin.buffer.read().decode()
        return Path(path).expanduser().read_text()
    except FileNotFoundError:
        raise NotFound(
            f"{option}: there is no file {path}",
            why=f"It was looked for from {Path.cwd()}",
            todo="Check the path",
            code="no-such-file",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{option}: {path} cannot be read",
            why=str(error),
            todo="Give a readable text file (UTF-8)",
            code="unreadable-file",
        ) from error


def _is_port(text: str, lowest: int) -> bool:
    # isdigit alone takes superscripts too, which int() does not.
    return text.isascii() and text.isdigit() and lowest <= int(text) <= 65535


def read_forward(text: str) -> PortForward:
    """`[ADDRESS:]HOST_PORT:GUEST_PORT[/tcp|/udp]`; host port 0 takes a free one."""
    ports, _, protocol = text.partition("/")
    address, _, rest = ports.rpartition(":")[0].rpartition(":")
    host, guest = (rest, ports.rpartition(":")[2]) if ":" in ports else ("0", ports)
    if protocol not in {"", "tcp", "udp"} or not _is_port(host, 0) or not _is_port(guest, 1):
        raise InvalidInput(
            f"--forward {text} is not a port forward",
            why="It is [ADDRESS:]HOST_PORT:GUEST_PORT with ports up to 65535, then /udp if it is not TCP",
            todo="Write it like --forward 8080:80 or --forward 0.0.0.0:8080:80",
            code="invalid-forward",
        )
    return PortForward(int(guest), int(host), address.strip("[]") or "127.0.0.1", Protocol(protocol or "tcp"))


def read_ports(text: str, option: str) -> tuple[PortRange, ...]:
    """`22,8000-8999` → ranges; `all` → none, which stands for any."""
    if text == "all":
        return ()
    found = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not _is_port(first, 1) or not _is_port(last or first, 1):
            raise InvalidInput(
                f"{option} {text} names no ports",
                why="Ports are numbers from 1 to 65535, or ranges of them, with commas between",
                todo=f"Write it like {option} 22,8000-8999, or {option} all",
                code="invalid-ports",
            )
        found.append(PortRange(int(first), int(last or first)))
    return tuple(found)


def read_peer(text: str) -> Peer:
    """An address or prefix, or `tag:NAME`, `network:NAME`, `firewall:NAME`."""
    kind, colon, name = text.partition(":")
    if colon and kind in {PeerKind.TAG, PeerKind.NETWORK, PeerKind.FIREWALL}:
        return Peer(PeerKind(kind), name)
    return Peer(PeerKind.PREFIX, text)
