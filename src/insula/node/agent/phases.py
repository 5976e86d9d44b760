"""Boot phases from a serial console: a pure parser that is fed bytes as they come.

Our images print `insula-phase: NAME uptime=SECONDS`. For other systems the parser knows the lines of Linux, systemd,
ifupdown and cloud-init. A phase is never left backwards; a skipped one simply does not appear.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from insula.domain.instance import BootPhase

FIRMWARE = "firmware"
WAKE = "wake"  # memory that was saved goes on; what follows for a booting guest lies behind this one
RENEW = "renew"  # a template's guest has become this instance; its first-boot work goes on
ADOPT = "adopt"  # a guest that was renewed ahead becomes this instance, which is all that is left to do
ORDER = (ADOPT, WAKE, RENEW, FIRMWARE, "kernel", "init", "network", "cloud-init", "ready")

_MARKER = re.compile(rb"insula-phase: (init|network|cloud-init|ready)\b(?: uptime=(\d+\.?\d*))?")
_ESCAPES = re.compile(rb"\x1b(\[[0-9;?]*[A-Za-z]|[()][A-Z0-9]|[=>c78])")
_SIGNS: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("kernel", re.compile(rb"Linux version \d|\] Command line: |^Loading Linux |^EFI stub: |^\[ +0\.000000\]")),
    ("init", re.compile(rb"\bRun /\S*init as init process|^systemd\[1\]: |systemd \d+\S* running in system mode")),
    (
        "network",
        re.compile(
            rb"(Starting|Started|Finished|Reached target) (.* - )?"
            rb"(systemd-networkd\b|network\.target|Network\.|Network Configuration|Network Manager|Raise network inter)"
            rb"|Configuring network interfaces"
        ),
    ),
    # The stage `init-local` runs before the network is up and belongs to the phase init.
    ("cloud-init", re.compile(rb"[Cc]loud-init v\. \S+ running '(init|modules:config|modules:final)'")),
)
_LOGIN = re.compile(rb"^(?!Last )\S+ login:(\s|$)")
_CLOUD_INIT_END = re.compile(rb"[Cc]loud-init v\. \S+ finished at ")
_PANIC = re.compile(rb"Kernel panic - not syncing: (.*)")
_MAX_LINE_BYTES = 4096  # a guest may write without ever ending a line


@dataclass
class PhaseParser:
    """What one boot's console has shown so far. It begins in the phase `first`.

    `marked_ready` tells our own marker, `login_seen` a login prompt, `cloud_init_done` cloud-init's last line.
    """

    first: str = FIRMWARE
    marked_ready: bool = False
    login_seen: bool = False
    cloud_init_done: bool = False
    panic: str = ""
    _partial: bytes = b""

    def __post_init__(self) -> None:
        self._begun: list[tuple[str, int]] = [(self.first, 0)]

    @property
    def current(self) -> str:
        """The phase the boot is in."""
        return self._begun[-1][0]

    def feed(self, data: bytes, at_ms: int) -> list[BootPhase]:
        """Take in new console output seen `at_ms` after the machine's start; returns the phases that it ended."""
        *lines, partial = (self._partial + data.replace(b"\r", b"\n")).split(b"\n")
        self._partial = partial[-_MAX_LINE_BYTES:]
        ended: list[BootPhase] = []
        for line in lines:
            ended += self._line(_ESCAPES.sub(b"", line[:_MAX_LINE_BYTES]).strip(), at_ms)
        # A login prompt waits behind its colon without ending the line.
        self.login_seen = self.login_seen or _LOGIN.match(_ESCAPES.sub(b"", self._partial).lstrip()) is not None
        return ended

    def enter(self, name: str, at_ms: int) -> list[BootPhase]:
        """Go to phase `name`, if it lies ahead; returns the phase that ended thereby."""
        current, begun_ms = self._begun[-1]
        if ORDER.index(name) <= ORDER.index(current):
            return []
        self._begun.append((name, at_ms))
        return [BootPhase(current, begun_ms, max(0, at_ms - begun_ms))]

    def phases(self, now_ms: int) -> tuple[BootPhase, ...]:
        """All phases so far; the last one's length is counted up to `now_ms`, and `ready` takes no time."""
        ends = [begun for _, begun in self._begun[1:]] + [now_ms]
        return tuple(
            BootPhase(name, begun, 0 if name == "ready" else max(0, end - begun))
            for (name, begun), end in zip(self._begun, ends, strict=True)
        )

    def _kernel_before(self, uptime_s: bytes | None, at_ms: int) -> list[BootPhase]:
        """A quiet kernel prints nothing; the marker's uptime tells when it began."""
        if uptime_s is None or self.current != FIRMWARE:
            return []
        return self.enter("kernel", max(0, at_ms - int(float(uptime_s) * 1000)))

    def _line(self, line: bytes, at_ms: int) -> list[BootPhase]:
        self.login_seen = self.login_seen or _LOGIN.match(line) is not None
        self.cloud_init_done = self.cloud_init_done or _CLOUD_INIT_END.search(line) is not None
        if found := _PANIC.search(line):
            self.panic = found[1].decode("utf-8", "replace")
        if found := _MARKER.search(line):
            name = found[1].decode()
            ended = self._kernel_before(found[2], at_ms)
            if name == "ready":  # the guest is ready when it answers, too; see boot
                self.marked_ready = True
                return ended
            return ended + self.enter(name, at_ms)
        for name, sign in _SIGNS:
            if sign.search(line):
                return self.enter(name, at_ms)
        return []
