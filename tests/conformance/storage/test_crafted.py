"""Disk images that were crafted to reach something of the host's: what is opened for them is watched with strace."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from insula.base.errors import DataCorrupt, InvalidInput
from insula.node.storage.headers import FileFormat, check_importable
from tests.unit.node.storage.qcow2_files import Qcow2

pytestmark = [pytest.mark.root, pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")]

_SECRET = b"host secret " * 4096
_CLUSTER = 1 << 16
_COPIED = 1 << 63
# What the two ways in do with a file: all of an import, and the jailed tools alone, whatever its header says.
_IMPORT = """
import asyncio, sys
from pathlib import Path
from insula.node.storage.library import ImageLibrary
library = ImageLibrary(Path(sys.argv[1]), [])
asyncio.run(library.import_file("crafted", Path(sys.argv[2]), "qcow2", lambda message, percent=-1: None))
"""
_TOOLS = """
import asyncio, sys
from pathlib import Path
from insula.node.storage import importing
importing.check_importable = lambda source, image_format: 1 << 30
asyncio.run(importing.convert(Path(sys.argv[2]), importing.FileFormat.QCOW2, Path(sys.argv[1], "made")))
"""
_OPENED = re.compile(r'\b(?:open|openat|openat2)\((?:[^"]*)"([^"]*)"[^)]*\)\s+= (\d+)')
# Only the name service is asked, by ourselves, where a host has one.
_CONNECTED = re.compile(
    r'\bconnect\(\d+, \{sa_family=(?:AF_INET6?|AF_UNIX)(?!, sun_path="/var/run/nscd/)[^}]*\}[^)]*\) = 0'
)


def _tables(disk: Qcow2, l1: list[int], l2: list[int]) -> bytes:
    """A file whose L1 table (third cluster) and L2 table (fourth) hold these entries."""
    data = bytearray(disk.file().ljust(8 * _CLUSTER, b"\0"))
    for at, entries in ((3 * _CLUSTER, l1), (4 * _CLUSTER, l2)):
        data[at : at + 8 * len(entries)] = struct.pack(f">{len(entries)}Q", *entries)
    return bytes(data)


_BACKING, _EXTERNAL = 0xE2792ACA, 0x44415441
# Each tells how to write one, for a secret at a path. Those of the second group have headers without fault.
NAMES_ANOTHER: dict[str, Callable[[bytes], bytes]] = {
    "backing file": lambda path: Qcow2(backing_file=path, extensions=[(_BACKING, b"raw")]).file(),
    "backing file of unknown format": lambda path: Qcow2(backing_file=path).file(),
    "backing file in JSON": lambda path: Qcow2(
        backing_file=b'json:{"driver":"raw","file":{"driver":"file","filename":"%b"}}' % path
    ).file(),
    "backing file on the network": lambda path: Qcow2(backing_file=b"nbd://127.0.0.1:10809/x").file(),
    "backing file behind a socket": lambda path: Qcow2(backing_file=b"nbd+unix:///x?socket=%b.socket" % path).file(),
    "external data": lambda path: Qcow2(incompatible=1 << 2, extensions=[(_EXTERNAL, path)]).file(),
    "external data without a name": lambda path: Qcow2(incompatible=1 << 2).file(),
    "absurd size": lambda path: Qcow2(size=1 << 62, l1_entries=1 << 25).file(),
    "absurd table": lambda path: Qcow2(l1_entries=(1 << 32) - 1).file(),
}
LEADS_ASTRAY: dict[str, Callable[[bytes], bytes]] = {
    "table that holds itself": lambda path: _tables(Qcow2(), [_COPIED | 3 * _CLUSTER] * 2, []),
    "second table that holds itself": lambda path: _tables(
        Qcow2(), [_COPIED | 4 * _CLUSTER] * 2, [_COPIED | 4 * _CLUSTER] * 8192
    ),
    "clusters far behind the end": lambda path: _tables(Qcow2(), [_COPIED | 4 * _CLUSTER], [_COPIED | 1 << 55] * 8192),
    "refcounts that are the header": lambda path: Qcow2(refcount_offset=_CLUSTER, l1_offset=_CLUSTER).file(),
}
ALL = NAMES_ANOTHER | LEADS_ASTRAY


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A folder that an unprivileged user can reach, as the jail's user must."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder == Path("/tmp"):
            break
        folder.chmod(0o755)
    return tmp_path


@pytest.fixture
def secret(room: Path) -> Path:
    path = room / "secret"
    path.write_bytes(_SECRET)
    path.chmod(0o644)  # it is the jail that keeps it, not its mode
    return path


def traced(room: Path, program: str, disk: Path) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run a program of ours on the file; returns with it what it and all that it started opened and connected to."""
    log = room / "trace"
    calls = "trace=open,openat,openat2,connect"
    argv = ["strace", "-f", "-qq", "-s", "512", "-e", calls, "-o", str(log), sys.executable, "-c", program]
    argv += [str(room / "images"), str(disk)]
    (room / "images").mkdir(exist_ok=True)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=90, check=False)
    return done, log.read_text()


def assert_nothing_of_the_hosts(trace: str, secret: Path) -> None:
    assert str(secret) not in {path for path, _ in _OPENED.findall(trace)}
    assert not _CONNECTED.search(trace)


def test_the_watch_sees_what_is_opened_and_connected_to(room: Path, secret: Path) -> None:
    program = """
import socket, sys
open(sys.argv[2]).close()
with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
    pass
"""
    _, trace = traced(room, program, secret)
    assert str(secret) in {path for path, _ in _OPENED.findall(trace)}
    assert _CONNECTED.search(trace)


@pytest.mark.parametrize("name", ALL)
def test_a_crafted_image_is_refused_and_opens_nothing_else(room: Path, secret: Path, name: str) -> None:
    disk = room / "crafted.qcow2"
    disk.write_bytes(ALL[name](os.fsencode(secret)))
    if name in NAMES_ANOTHER:
        with pytest.raises((InvalidInput, DataCorrupt)):
            check_importable(disk, FileFormat.QCOW2)
    done, trace = traced(room, _IMPORT, disk)
    assert done.returncode == 1
    assert re.search(r"InvalidInput|DataCorrupt", done.stderr.splitlines()[-1]), done.stderr[-2000:]
    assert ("qemu-img" in trace) is (name in LEADS_ASTRAY)  # no tool is let near the others
    assert_nothing_of_the_hosts(trace, secret)
    assert list((room / "images").glob("[!.]*")) == []


@pytest.mark.parametrize("name", NAMES_ANOTHER)
def test_the_jail_alone_keeps_a_crafted_image_from_opening_anything(room: Path, secret: Path, name: str) -> None:
    disk = room / "crafted.qcow2"
    disk.write_bytes(ALL[name](os.fsencode(secret)))
    _, trace = traced(room, _TOOLS, disk)
    assert str(disk) in {path for path, _ in _OPENED.findall(trace)}
    assert_nothing_of_the_hosts(trace, secret)
    made = room / "images" / "made"
    assert _SECRET[:64] not in made.read_bytes()
