"""Boot phases from consoles of our images and of foreign ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from insula.node.agent.phases import PhaseParser

CONSOLES = Path(__file__).parent / "consoles"


def names(parser: PhaseParser) -> list[str]:
    return [phase.name for phase in parser.phases(10_000)]


@pytest.mark.parametrize(
    ("console", "expected", "sees_login"),
    [
        ("tiny.log", ["firmware", "kernel", "init", "network"], False),
        ("debian-cloud.log", ["firmware", "kernel", "init", "network", "cloud-init"], True),
        ("ubuntu-cloud.log", ["firmware", "kernel", "init", "network", "cloud-init"], True),
    ],
)
@pytest.mark.parametrize("piece_bytes", [1, 7, 4096])
def test_phases_of_known_consoles(console: str, expected: list[str], sees_login: bool, piece_bytes: int) -> None:
    text = (CONSOLES / console).read_bytes()
    parser = PhaseParser()
    for start in range(0, len(text), piece_bytes):
        parser.feed(text[start : start + piece_bytes], start)
    assert names(parser) == expected
    assert parser.login_seen == sees_login
    assert parser.marked_ready == (console == "tiny.log")
    assert parser.cloud_init_done == (console == "debian-cloud.log")


def test_a_marker_tells_when_a_quiet_kernel_began() -> None:
    parser = PhaseParser()
    ended = parser.feed(b"SeaBIOS (version 1.16)\r\ninsula-phase: init uptime=2.13\r\n", 3000)
    assert [(phase.name, phase.started_ms, phase.took_ms) for phase in ended] == [
        ("firmware", 0, 870),
        ("kernel", 870, 2130),
    ]


def test_lengths_follow_each_other() -> None:
    parser = PhaseParser()
    parser.feed(b"[    0.000000] Linux version 6.1.0\n", 100)
    parser.feed(b"insula-phase: init\n", 400)
    parser.enter("ready", 900)
    phases = parser.phases(5000)
    assert [(phase.name, phase.started_ms, phase.took_ms) for phase in phases] == [
        ("firmware", 0, 100),
        ("kernel", 100, 300),
        ("init", 400, 500),
        ("ready", 900, 0),
    ]


def test_a_phase_is_never_left_backwards() -> None:
    parser = PhaseParser()
    parser.feed(b"insula-phase: network\ninsula-phase: init\n[    0.000000] Linux version 6.1\n", 10)
    assert parser.current == "network"


def test_our_marker_alone_does_not_make_it_ready() -> None:
    parser = PhaseParser()
    parser.feed(b"insula-phase: ready\n", 10)
    assert parser.marked_ready
    assert parser.current == "firmware"


def test_a_panic_is_kept() -> None:
    parser = PhaseParser()
    parser.feed(b"[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs\n", 10)
    assert parser.panic == "VFS: Unable to mount root fs"


def test_an_endless_line_takes_no_memory() -> None:
    parser = PhaseParser()
    for _ in range(100):
        parser.feed(b"x" * 65536, 10)
    assert len(parser._partial) <= 4096
    parser.feed(b"\ninsula-phase: init\n", 20)
    assert parser.current == "init"


def test_colours_do_not_hide_a_line() -> None:
    parser = PhaseParser()
    parser.feed(b"\x1b[0;32m  OK  \x1b[0m] Reached target \x1b[0;1;39mnetwork.target\x1b[0m - Network.\r\n", 10)
    assert parser.current == "network"
