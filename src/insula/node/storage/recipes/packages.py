"""Fetches Debian packages with a private apt, so that an ordinary user can and nothing of the host's is changed.

apt itself verifies: the release file against the keyring of the package debian-archive-keyring, the indices against
the release file, each package against its index.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from insula.base.errors import CommandMissing, HostFailure
from insula.base.run import run
from insula.protocol.node import Progress

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR = "http://deb.debian.org/debian"
SECURITY_MIRROR = "http://deb.debian.org/debian-security"

_UPDATE_TIMEOUT_S = 600.0
_DOWNLOAD_TIMEOUT_S = 1800.0
# What the host's administrator decided about reaching mirrors holds for us as well.
_KEPT = re.compile(r"^Acquire::(https?|ftp|Check-Valid-Until|Check-Date|ForceIPv[46]|Retries)\b.* \"[^\"]+\";$")
_STATUS = re.compile(r"^dlstatus:[^:]*:([0-9.]+):")


@dataclass(frozen=True)
class Suite:
    """A release of Debian, e.g. `bookworm`."""

    name: str

    def sources(self) -> str:
        """The one-line sources of the suite, its updates and its security fixes."""
        signed = f"[signed-by={KEYRING}]"
        return "".join(
            f"deb {signed} {mirror} {suite} main\n"
            for mirror, suite in (
                (MIRROR, self.name),
                (MIRROR, f"{self.name}-updates"),
                (SECURITY_MIRROR, f"{self.name}-security"),
            )
        )


def check_keyring() -> None:
    """Raise :class:`CommandMissing` when nothing could be verified."""
    if not KEYRING.is_file():
        raise CommandMissing(
            "Debian's signing keys are not installed",
            why=f"{KEYRING} does not exist, so packages could not be verified",
            todo="Install them: sudo apt-get install debian-archive-keyring",
        )


async def host_policy() -> Sequence[str]:
    """The host's own apt settings on proxies and release file dates, as configuration lines."""
    dump = await run(["apt-config", "dump"], timeout_s=30)
    return [line for line in dump.text.splitlines() if _KEPT.match(line)]


class PrivateApt:
    """An apt with its own state, cache and sources in `folder`."""

    def __init__(self, folder: Path, suite: Suite) -> None:
        self._folder = folder
        self._suite = suite
        self._env: Mapping[str, str] = {"APT_CONFIG": str(folder / "apt.conf")}

    async def update(self, progress: Progress) -> None:
        """Fetch and verify the package lists. Raises :class:`HostFailure` when the mirror cannot be reached."""
        check_keyring()
        for name in ("state/lists/partial", "cache/archives/partial", "log"):
            (self._folder / name).mkdir(parents=True)
        (self._folder / "status").touch()
        (self._folder / "sources.list").write_text(self._suite.sources())
        (self._folder / "apt.conf").write_text(_configuration(self._folder, await host_policy()))
        progress("Reading Debian's package lists", 0)
        # apt-get update succeeds without an index it could not fetch, unless told otherwise.
        command = ["apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any"]
        await run(command, env=self._env, timeout_s=_UPDATE_TIMEOUT_S)

    async def depends(self, package: str) -> Sequence[str]:
        """The packages that `package` depends on directly."""
        done = await run(["apt-cache", "depends", "--important", package], env=self._env, timeout_s=60)
        return [line.split()[-1] for line in done.text.splitlines() if line.strip().startswith("Depends:")]

    async def download(self, packages: Sequence[str], target: Path, progress: Progress) -> Mapping[str, Path]:
        """Fetch and verify these packages, without what they depend on; name → file."""

        def on_line(line: str) -> None:
            if found := _STATUS.match(line):
                progress("Downloading packages", int(float(found[1])))

        target.mkdir()
        await run(
            ["apt-get", "download", "-q", "-o", "APT::Status-Fd=2", *packages],
            env=self._env,
            cwd=target,
            timeout_s=_DOWNLOAD_TIMEOUT_S,
            on_line=on_line,
        )
        files = {path.name.partition("_")[0]: path for path in target.glob("*.deb")}
        if missing := set(packages) - set(files):
            raise HostFailure(
                f"Packages are missing: {', '.join(sorted(missing))}",
                why="apt ended well but did not leave them",
                todo="Try again; the mirror may be in the middle of an update",
            )
        return files


def version_of(package_file: Path) -> str:
    """The version in a package file's name (`name_version_architecture.deb`, with `%3a` for a colon)."""
    return package_file.name.split("_")[1].replace("%3a", ":")


def _configuration(folder: Path, policy: Sequence[str]) -> str:
    lines = [
        f'Dir "{folder}";',
        f'Dir::State "{folder}/state";',
        f'Dir::State::status "{folder}/status";',
        f'Dir::Cache "{folder}/cache";',
        f'Dir::Log "{folder}/log";',
        f'Dir::Etc::sourcelist "{folder}/sources.list";',
        'Dir::Etc::sourceparts "/dev/null";',
        'Dir::Etc::parts "/dev/null";',
        'Dir::Etc::main "/dev/null";',
        'Dir::Etc::preferences "/dev/null";',
        'Dir::Etc::preferencesparts "/dev/null";',
        'APT::Architecture "amd64";',
        'APT::Architectures { "amd64"; };',
        'Acquire::Languages "none";',
        *policy,
    ]
    return "".join(f"{line}\n" for line in lines)
