from __future__ import annotations

import struct

from insula.node.storage.recipes.reseed import reseed_program


def test_it_is_a_whole_program_that_nobody_can_write_to() -> None:
    program = reseed_program()
    kind, machine = struct.unpack_from("<HH", program, 16)
    (entry,) = struct.unpack_from("<Q", program, 24)
    load, flags, offset, address, _, in_file, in_memory = struct.unpack_from("<IIQQQQQ", program, 64)
    assert (program[:4], kind, machine) == (b"\x7fELF", 2, 62)
    assert (load, flags, offset) == (1, 5, 0), "one segment, readable and executable"
    assert in_file == in_memory == len(program)
    assert address + 120 == entry, "it begins behind its headers"


def test_the_name_that_it_opens_is_where_its_code_looks_for_it() -> None:
    program = reseed_program()
    begin = program.index(b"\x48\x8d\x3d")  # lea rdi, [rip + distance]
    (distance,) = struct.unpack_from("<i", program, begin + 3)
    place = begin + 7 + distance
    assert program[place:] == b"/dev/urandom\0"
