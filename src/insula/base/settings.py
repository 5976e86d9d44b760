"""Every setting, read once from the environment. `SETTINGS` is the table that documentation and tests go by."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from insula.base.errors import InvalidInput

DEFAULT_LISTEN = "127.0.0.1:7780"

SETTINGS: Mapping[str, str] = {
    "INSULA_HOME": "Folder that holds all state. Default: /var/lib/insula as root, ~/.local/share/insula otherwise.",
    "INSULA_LISTEN": f"Address and port of the HTTP service. Default: {DEFAULT_LISTEN}.",
    "INSULA_LISTEN_TLS": "Address and port of the same over HTTPS, or off. Default: the port after that of "
    "INSULA_LISTEN.",
    "INSULA_URL": "Where clients find the service, http://host:port or unix:/path. Default: the socket in INSULA_HOME.",
    "INSULA_TOKEN": "Token that clients send over TCP. Not needed on the Unix socket.",
    "INSULA_PROJECT": "Project that clients work in. Default: default.",
    "INSULA_DATABASE": "Database URL, postgresql://… or sqlite:///…. Default: a SQLite file in INSULA_HOME.",
    "INSULA_DRIVER": "Hypervisor driver: qemu or fake. Default: qemu.",
    "INSULA_FAKE_BOOT_S": "Seconds that a boot takes with the fake driver. Default: 0.",
    "INSULA_ACCELERATOR": "auto (KVM when proved), kvm or tcg. Default: auto.",
    "INSULA_RESERVE_MEMORY_MIB": "Memory the host keeps for itself. Default: 10 % of it, at least 512, at most 4096.",
    "INSULA_OVERCOMMIT_VCPU": "vCPU shares promised per host core. Default: 8.",
    "INSULA_OVERCOMMIT_MEMORY": "Memory promised per byte of host memory after the reserve. Default: 1.",
    "INSULA_OVERCOMMIT_DISK": "Disk promised per byte of free disk; disks are thin. Default: 4.",
    "INSULA_TEMPLATES": "When guests are frozen for new instances to go on from: auto, asked or never. Default: auto.",
    "INSULA_TEMPLATE_MEMORY_MIB": "Host memory that keeps templates at hand; instances come first. Default: 1024.",
    "INSULA_TEMPLATE_DISK_GIB": "Disk that templates take before the least recently used goes. Default: 10.",
    "INSULA_POOL_MEMORY_MIB": "Host memory for guests that wait for the next creates; instances come first. Making "
    "each keeps a processor busy for up to 10 s, and it really takes 100 to 200 MiB. Default: 1024 if templates are "
    "made by themselves (auto), else 0: none wait.",
    "INSULA_NETWORK": "How networks reach the outside: auto (as root through the host's packet filter where that is "
    "possible, else without rights) or user (always without rights). Default: auto.",
    "INSULA_RATE_LIMIT": "Requests per minute and identity over TCP. Default: 5000.",
    "INSULA_LOG_LEVEL": "debug, info, warning or error. Default: info.",
}


@dataclass(frozen=True)
class Settings:
    """The settings of one service or client process."""

    home: Path
    listen_host: str
    listen_port: int
    listen_tls: tuple[str, int] | None
    url: str
    token: str
    project: str
    database_url: str
    driver: str
    fake_boot_s: float
    accelerator: str
    reserve_memory_mib: int | None
    overcommit_vcpu: float
    overcommit_memory: float
    overcommit_disk: float
    templates: str
    template_memory_mib: int
    template_disk_gib: float
    pool_memory_mib: int
    network: str
    rate_limit_per_minute: int
    log_level: str

    @property
    def socket_path(self) -> Path:
        """The service's Unix socket."""
        return self.home / "run" / "insula.sock"

    @property
    def is_local(self) -> bool:
        """Whether clients talk to the service of this very home, which they may start."""
        return self.url == f"unix:{self.socket_path}"


def default_home() -> Path:
    """As root /var/lib/insula (own uids cannot reach /root), else the XDG data folder."""
    if os.geteuid() == 0:
        return Path("/var/lib/insula")
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "insula"


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Read all settings. Raises :class:`InvalidInput` that names the variable and what it should be."""
    env = os.environ if environment is None else environment
    home = Path(env.get("INSULA_HOME") or default_home()).expanduser().absolute()
    host, port = _listen("INSULA_LISTEN", env.get("INSULA_LISTEN") or DEFAULT_LISTEN)
    reserve = env.get("INSULA_RESERVE_MEMORY_MIB")
    templates = _choice(env, "INSULA_TEMPLATES", "auto", ("auto", "asked", "never"))
    return Settings(
        home=home,
        listen_host=host,
        listen_port=port,
        listen_tls=_listen_tls(env.get("INSULA_LISTEN_TLS", ""), host, port),
        url=env.get("INSULA_URL") or f"unix:{home / 'run' / 'insula.sock'}",
        token=env.get("INSULA_TOKEN", ""),
        project=env.get("INSULA_PROJECT") or "default",
        database_url=env.get("INSULA_DATABASE") or f"sqlite:///{home / 'control' / 'insula.sqlite'}",
        driver=_choice(env, "INSULA_DRIVER", "qemu", ("qemu", "fake")),
        fake_boot_s=_number(env, "INSULA_FAKE_BOOT_S", 0, is_zero_allowed=True),
        accelerator=_choice(env, "INSULA_ACCELERATOR", "auto", ("auto", "kvm", "tcg")),
        reserve_memory_mib=int(_number(env, "INSULA_RESERVE_MEMORY_MIB", 0)) if reserve else None,
        overcommit_vcpu=_number(env, "INSULA_OVERCOMMIT_VCPU", 8),
        overcommit_memory=_number(env, "INSULA_OVERCOMMIT_MEMORY", 1),
        overcommit_disk=_number(env, "INSULA_OVERCOMMIT_DISK", 4),
        templates=templates,
        template_memory_mib=int(_number(env, "INSULA_TEMPLATE_MEMORY_MIB", 1024)),
        template_disk_gib=_number(env, "INSULA_TEMPLATE_DISK_GIB", 10),
        pool_memory_mib=int(
            _number(env, "INSULA_POOL_MEMORY_MIB", 1024 if templates == "auto" else 0, is_zero_allowed=True)
        ),
        network=_choice(env, "INSULA_NETWORK", "auto", ("auto", "user")),
        rate_limit_per_minute=int(_number(env, "INSULA_RATE_LIMIT", 5000)),
        log_level=_choice(env, "INSULA_LOG_LEVEL", "info", ("debug", "info", "warning", "error")),
    )


def _listen_tls(text: str, host: str, port: int) -> tuple[str, int] | None:
    if text == "off" or (not text and not 0 < port < 65535):
        return None
    return _listen("INSULA_LISTEN_TLS", text) if text else (host, port + 1)


def _listen(name: str, text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isascii() or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise InvalidInput(
            f"{name}={text} is not an address",
            why="It must be host:port with a port from 0 to 65535",
            todo=f"Set it like {name}={DEFAULT_LISTEN}",
            code="invalid-setting",
        )
    return host.strip("[]"), int(port)


def _choice(env: Mapping[str, str], name: str, default: str, allowed: tuple[str, ...]) -> str:
    value = env.get(name) or default
    if value not in allowed:
        raise InvalidInput(
            f"{name}={value} is not known",
            why=f"It must be one of {', '.join(allowed)}",
            todo=f"Set it like {name}={default}",
            code="invalid-setting",
        )
    return value


def _number(env: Mapping[str, str], name: str, default: float, *, is_zero_allowed: bool = False) -> float:
    text = env.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9 or (value == 0 and not is_zero_allowed):
        raise InvalidInput(
            f"{name}={text} is not a usable number",
            why=f"It must be a number {'from 0 on' if is_zero_allowed else 'above 0'}",
            todo=f"Set it like {name}={default:g}",
            code="invalid-setting",
        )
    return value
