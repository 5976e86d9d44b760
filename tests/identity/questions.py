"""What copies of a guest are asked, and what of it more than one of them answered the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

# One command of the shell for each; all are asked at once.
COMMON = {
    "machine-id": "cat /etc/machine-id",
    "hostname": "hostname",
    "MAC": "cat /sys/class/net/eth0/address",
    "address": "ip -6 addr show dev eth0 | grep -o 'fe80[^/ ]*'",
    "first kernel random bytes": "head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \\n'",
    "kernel uuid": "cat /proc/sys/kernel/random/uuid",
    "boot-id": "cat /proc/sys/kernel/random/boot_id",
    "cloud-init instance-id": 'sed -n \'s/.*"instance-id": *"\\([^"]*\\)".*/\\1/p\' /run/insula/seed/meta-data',
}
OF_IMAGE = {
    "tiny": {"SSH host key": "dropbearkey -y -f /etc/dropbear/dropbear_ed25519_host_key | grep '^ssh-'"},
    "debian-12": {
        "SSH host key": "cat /etc/ssh/ssh_host_ed25519_key.pub",
        "DHCP identifier": "networkctl status eth0 | grep DUID",
        "first bytes of OpenSSL": "openssl rand -hex 16",
        "first bytes of Python": "python3 -c 'import random, uuid; print(random.getrandbits(128), uuid.uuid4())'",
    },
}
# Of a process that was alive in the guest that all are copies of; it answers through two pipes.
OF_ALIVE = ("first kernel bytes, process alive before", "first bytes of OpenSSL, process alive before")
OF_ALIVE_LAST = "first bytes of Python, process alive before"
ALIVE = Path(__file__).with_name("alive.py")
START_ALIVE = (
    "mkfifo /run/ask /run/answer; "
    "setsid sh -c 'exec 3<> /run/ask 4<> /run/answer; exec python3 /root/alive.py <&3 >&4' "
    "> /dev/null 2>&1 < /dev/null & sleep 3"
)
ASK_ALIVE = "echo now > /run/ask; head -n 1 /run/answer"


def script(questions: Mapping[str, str]) -> str:
    """A shell script that prints one line for each question, in their order."""
    return "\n".join(f'echo "$({command} | tr "\\n" " ")"' for command in questions.values())


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
