"""What copies of a guest are asked, and what of it more than one of them answered the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path


def _line(file: str) -> str:
    """Its first line, by the shell itself: each program takes an emulated guest a fraction of a second."""
    return f'{{ read -r line < {file}; echo "$line"; }}'


# One command of the shell for each; all are asked at once.
COMMON = {
    "machine-id": _line("/etc/machine-id"),
    "hostname": _line("/proc/sys/kernel/hostname"),
    "MAC": _line("/sys/class/net/eth0/address"),
    "address": "ip -6 addr show dev eth0 | grep -o 'fe80[^/ ]*'",
    "first kernel random bytes": "od -An -N32 -tx1 /dev/urandom",
    "kernel uuid": _line("/proc/sys/kernel/random/uuid"),
    "boot-id": _line("/proc/sys/kernel/random/boot_id"),
    "cloud-init instance-id": 'sed -n \'s/.*"instance-id": *"\\([^"]*\\)".*/\\1/p\' /run/insula/seed/meta-data',
}
OF_IMAGE = {
    "tiny": {"SSH host key": "dropbearkey -y -f /etc/dropbear/dropbear_ed25519_host_key | grep '^ssh-'"},
    "debian-12": {
        "SSH host key": _line("/etc/ssh/ssh_host_ed25519_key.pub"),
        "DHCP identifier": "networkctl status eth0 | grep DUID",
        "first bytes of OpenSSL": "openssl rand -hex 16",
        "first bytes of Python": "python3 -IS -c 'import random; print(random.getrandbits(128))'",
    },
}
# A process that is alive in the guest that all are copies of. It answers through two pipes, which it holds open itself.
ALIVE = Path(__file__).with_name("alive.py")
ALIVE_AT = "/root/alive.py"
START_ALIVE = f"""
mkfifo /run/ask /run/answer
exec 3<> /run/ask 4<> /run/answer
setsid python3 {ALIVE_AT} <&3 >&4 2> /root/alive.log &
"""
# Asked once for all that it draws.
_ASK_ALIVE = (
    '[ -e /run/answered ] || { echo now > /run/ask; read -r line < /run/answer; echo "$line" > /run/answered; }; '
    'read -r one two three < /run/answered; echo "$%s"'
)
OF_ALIVE = {
    f"first bytes of {source} in a process alive before": _ASK_ALIVE % place
    for place, source in (("one", "the kernel"), ("two", "OpenSSL"), ("three", "Python"))
}


def script(questions: Mapping[str, str]) -> str:
    """A shell script that prints one line for each question, in their order."""
    return "\n".join(f"echo $({command})" for command in questions.values())


def answers(questions: Sequence[str], printed: str) -> dict[str, str]:
    """The lines by their questions. Raises AssertionError when one has no answer."""
    lines = printed.splitlines()
    told = {name: line.strip() for name, line in zip(questions, lines, strict=False)}
    missing = [name for name in questions if not told.get(name)]
    assert not missing, f"no {', '.join(missing)} in {printed!r}"
    return told


def duplicates(told: Sequence[Mapping[str, str]]) -> dict[str, int]:
    """For each question, how many copies answered what another one had answered already."""
    counts = {name: Counter(one[name] for one in told) for name in told[0]}
    return {name: sum(count - 1 for count in values.values()) for name, values in counts.items()}
