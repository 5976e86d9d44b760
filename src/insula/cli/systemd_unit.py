"""The systemd unit, for hosts that have systemd."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from insula.base.errors import Unsupported
from insula.base.files import write_atomic
from insula.base.settings import Settings
from insula.client.service_process import environment

_SYSTEM = Path("/etc/systemd/system/insula.service")


def unit(settings: Settings) -> str:
    """The unit's text for this checkout, INSULA_HOME and the other settings of our environment."""
    lines = [f"Environment={_quoted(f'{name}={value}')}" for name, value in sorted(environment(settings).items())]
    return f"""[Unit]
Description=Insula: virtual machines on this host
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
ExecStart={_quoted(sys.executable)} -I -m insula.main serve
{os.linesep.join(lines)}
Restart=always
RestartSec=1
TimeoutStartSec=120
TimeoutStopSec=90
# Machines outlive the service: only the service itself is stopped, and they keep the cgroups it made for them.
KillMode=process
Delegate=yes
SendSIGKILL=no
OOMPolicy=continue
TasksMax=infinity
LimitNOFILE=65536

[Install]
WantedBy={"multi-user.target" if os.geteuid() == 0 else "default.target"}
"""


def _quoted(text: str) -> str:
    # systemd expands % and reads backslashes and quotes inside quotes.
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def install(text: str) -> tuple[Path, Sequence[str]]:
    """Write the unit; returns its path and the commands that put it to work. May be repeated.

    Raises Unsupported without systemd.
    """
    if not Path("/run/systemd/system").is_dir():
        raise Unsupported(
            "There is no systemd here",
            why="/run/systemd/system does not exist",
            todo="Start the service with `insula service start`, from what starts programs at boot on this host",
            code="no-systemd",
        )
    if os.geteuid() == 0:
        path, scope = _SYSTEM, ""
        after: Sequence[str] = ()
    else:
        config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        path, scope = config / "systemd" / "user" / "insula.service", " --user"
        # Without lingering, systemd ends a user's services at logout.
        after = ("loginctl enable-linger",)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text.encode(), mode=0o600)  # a database's URL may hold a password
    return path, (f"systemctl{scope} daemon-reload", f"systemctl{scope} enable --now insula", *after)
