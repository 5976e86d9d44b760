"""The filter is run by a small interpreter of the few BPF instructions that it uses."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from insula.node.runtime.seccomp import DENIED, program, program_file

_X86_64, _I386 = 0xC000003E, 0x40000003


def _decide(number: int, architecture: int = _X86_64) -> int:
    code = [struct.unpack_from("<HBBI", program(), place) for place in range(0, len(program()), 8)]
    data = struct.pack("<II", number, architecture)
    word, place = 0, 0
    while True:
        kind, if_true, if_false, value = code[place]
        if kind == 0x20:
            (word,) = struct.unpack_from("<I", data, value)
            place += 1
        elif kind == 0x06:
            return int(value)
        else:
            holds = word == value if kind == 0x15 else word >= value
            place += 1 + (if_true if holds else if_false)


@pytest.mark.parametrize("name", DENIED)
def test_each_denied_call_fails_with_eperm(name: str) -> None:
    assert _decide(DENIED[name]) == 0x00050000 | errno.EPERM


def test_other_calls_pass() -> None:
    for number in set(range(462)) - set(DENIED.values()):
        assert _decide(number) == 0x7FFF0000


def test_other_numberings_of_the_same_calls_are_refused() -> None:
    assert _decide(0, _I386) == 0x00050000 | errno.EPERM
    assert _decide(0x40000000) == 0x00050000 | errno.EPERM


def test_the_filter_can_be_read_once_from_its_descriptor() -> None:
    descriptor = program_file()
    assert os.read(descriptor, 65536) == program()
    os.close(descriptor)
