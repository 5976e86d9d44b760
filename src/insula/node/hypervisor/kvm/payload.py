"""A guest of a few instructions, run through /dev/kvm itself in real, protected and long mode.

Runs as a program of its own, `python3 -I payload.py`, since a broken KVM may hang it; prints one JSON object: for each
mode `loops_per_s` (decrement and jump in the guest's kernel mode), or `error`. Standard library only.
Source: Linux Documentation/virt/kvm/api.rst, include/uapi/linux/kvm.h.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import mmap
import os
import signal
import struct
import sys
import time
from collections.abc import Mapping

_GET_API_VERSION, _CREATE_VM, _GET_VCPU_MMAP_SIZE = 0xAE00, 0xAE01, 0xAE04
_CREATE_VCPU, _SET_TSS_ADDR, _RUN = 0xAE41, 0xAE47, 0xAE80
_SET_USER_MEMORY_REGION = 0x4020AE46
_SET_REGS, _GET_SREGS, _SET_SREGS = 0x4090AE82, 0x8138AE83, 0x4138AE84
_STABLE_API_VERSION = 12
_EXIT_IO = 2
_EXIT_REASON_OFFSET = 8

_MEMORY_BYTES = 2 * 1024 * 1024
_CODE, _STACK = 0x1000, 0x8000
_PAGE_TABLES = (0x2000, 0x3000, 0x4000)
_TSS_ADDRESS = 0x10000000  # beyond the guest's memory; Intel needs it for real mode

_LOOPS = 20_000
_MEASURE_S = 0.03
_GIVE_UP_S = 1.5

# mov ecx, _LOOPS; again: dec ecx; jnz again; out 0x10, al; jmp to the first
_LOAD = struct.pack("<I", _LOOPS)
_PROGRAMS: Mapping[str, bytes] = {
    "real": b"\x66\xb9" + _LOAD + b"\x66\x49\x75\xfc\xe6\x10\xeb\xf2",
    "protected": b"\xb9" + _LOAD + b"\x49\x75\xfd\xe6\x10\xeb\xf4",
    "long": b"\xb9" + _LOAD + b"\xff\xc9\x75\xfc\xe6\x10\xeb\xf3",
}

# struct kvm_segment: base, limit, selector, then type present dpl db s l g avl unusable padding.
_SEGMENT = struct.Struct("<QIH10B")
_SREGS_BYTES = 312
_CONTROL = struct.Struct("<7Q")  # cr0 cr2 cr3 cr4 cr8 efer apic_base
_CONTROL_OFFSET = 8 * _SEGMENT.size + 2 * 16


class _TookTooLong(Exception):
    pass


def _flat(*, is_code: bool, mode: str) -> bytes:
    long, wide = int(mode == "long" and is_code), int(mode == "protected" or not is_code)
    kind = 11 if is_code else 3
    return _SEGMENT.pack(0, 0xFFFFFFFF, 8 if is_code else 16, kind, 1, 0, wide, 1, long, 1, 0, 0, 0)


def _special_registers(initial: bytes, mode: str) -> bytes:
    """The vCPU's state for a mode: flat segments, and for long mode one identity-mapped 2 MiB page."""
    registers = bytearray(initial)
    control = list(_CONTROL.unpack_from(registers, _CONTROL_OFFSET))
    if mode == "real":
        code = list(_SEGMENT.unpack_from(registers, 0))
        code[0], code[2] = 0, 0
        _SEGMENT.pack_into(registers, 0, *code)
        return bytes(registers)
    for number in range(6):
        start = number * _SEGMENT.size
        registers[start : start + _SEGMENT.size] = _flat(is_code=number == 0, mode=mode)
    # A busy 64-bit task segment, without which Intel refuses to enter long mode.
    _SEGMENT.pack_into(registers, 6 * _SEGMENT.size, 0, 0xFFFF, 24, 11, 1, 0, 0, 0, 0, 0, 0, 0, 0)
    control[0] |= 1
    if mode == "long":
        control[0] |= 1 << 31
        control[2] = _PAGE_TABLES[0]
        control[3] |= 1 << 5
        control[5] |= (1 << 8) | (1 << 10)
    _CONTROL.pack_into(registers, _CONTROL_OFFSET, *control)
    return bytes(registers)


def _fill(memory: mmap.mmap, mode: str) -> None:
    memory[_CODE : _CODE + len(_PROGRAMS[mode])] = _PROGRAMS[mode]
    top, middle, low = _PAGE_TABLES
    for place, entry in ((top, middle | 3), (middle, low | 3), (low, 0x83)):
        memory[place : place + 8] = struct.pack("<Q", entry)


def _run_mode(kvm: int, mode: str) -> dict[str, float | str]:
    machine = fcntl.ioctl(kvm, _CREATE_VM, 0)
    memory = mmap.mmap(-1, _MEMORY_BYTES)
    try:
        fcntl.ioctl(machine, _SET_TSS_ADDR, _TSS_ADDRESS)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        fcntl.ioctl(machine, _SET_USER_MEMORY_REGION, struct.pack("<IIQQQ", 0, 0, 0, _MEMORY_BYTES, address))
        _fill(memory, mode)
        vcpu = fcntl.ioctl(machine, _CREATE_VCPU, 0)
        try:
            return {"loops_per_s": _measure(kvm, vcpu, mode)}
        finally:
            os.close(vcpu)
    finally:
        os.close(machine)


def _measure(kvm: int, vcpu: int, mode: str) -> float:
    registers = bytearray(_SREGS_BYTES)
    fcntl.ioctl(vcpu, _GET_SREGS, registers)
    fcntl.ioctl(vcpu, _SET_SREGS, _special_registers(bytes(registers), mode))
    general = [0] * 18
    general[6], general[16], general[17] = _STACK, _CODE, 2
    fcntl.ioctl(vcpu, _SET_REGS, struct.pack("<18Q", *general))
    with mmap.mmap(vcpu, fcntl.ioctl(kvm, _GET_VCPU_MMAP_SIZE, 0)) as shared:
        begin_s = start_s = time.monotonic()
        shortest_s = _GIVE_UP_S
        while start_s < begin_s + _MEASURE_S:
            fcntl.ioctl(vcpu, _RUN, 0)
            end_s = time.monotonic()
            (reason,) = struct.unpack_from("<I", shared, _EXIT_REASON_OFFSET)
            if reason != _EXIT_IO:
                raise OSError(f"the virtual CPU left with exit reason {reason}")
            # The shortest of many rounds is what the hardware can do, however busy the host is.
            shortest_s, start_s = min(shortest_s, end_s - start_s), end_s
        return _LOOPS / shortest_s


def _give_up(_: int, __: object) -> None:
    raise _TookTooLong


def main() -> None:
    """Try all modes and print what was measured."""
    signal.signal(signal.SIGALRM, _give_up)
    kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    version = fcntl.ioctl(kvm, _GET_API_VERSION, 0)
    if version != _STABLE_API_VERSION:
        raise SystemExit(f"KVM's interface has version {version}, not {_STABLE_API_VERSION}")
    found: dict[str, dict[str, float | str]] = {}
    for mode in _PROGRAMS:
        signal.setitimer(signal.ITIMER_REAL, _GIVE_UP_S)
        try:
            found[mode] = _run_mode(kvm, mode)
        except _TookTooLong:
            found[mode] = {"error": f"{_LOOPS} loops took more than {_GIVE_UP_S} s"}
        except OSError as error:
            found[mode] = {"error": error.strerror or str(error)}
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
