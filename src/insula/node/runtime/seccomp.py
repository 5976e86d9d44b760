"""A small system call filter for everything in a jail, beside the one that QEMU gives itself.

Namespaces do not cover all: a jailed program inherits the session keyring of whoever started it, and the kernel's
rarely used interfaces are where its holes are. The filter is a classic BPF program that bubblewrap loads last, just
before the program starts. Source: Linux Documentation/userspace-api/seccomp_filter.rst, syscall_64.tbl.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Mapping

# System calls of x86-64 that neither QEMU nor qemu-img needs.
DENIED: Mapping[str, int] = {
    "ptrace": 101,
    "pivot_root": 155,
    "mount": 165,
    "umount2": 166,
    "init_module": 175,
    "kexec_load": 246,
    "add_key": 248,
    "request_key": 249,
    "keyctl": 250,
    "unshare": 272,
    "perf_event_open": 298,
    "name_to_handle_at": 303,
    "open_by_handle_at": 304,
    "setns": 308,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "finit_module": 313,
    "kexec_file_load": 320,
    "bpf": 321,
    "io_uring_setup": 425,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
}

_ARCHITECTURE = 0xC000003E  # AUDIT_ARCH_X86_64
_X32_BIT = 0x40000000  # the same calls under other numbers
_LOAD_WORD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET = 0, 4
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM


def program() -> bytes:
    """The filter as an array of `struct sock_filter`: every denied call fails with EPERM, all others pass."""
    numbers = sorted(DENIED.values())
    refuse = len(numbers)  # how many instructions lie between the first comparison and the refusal at the end
    code = [
        (_LOAD_WORD, 0, 0, _ARCHITECTURE_OFFSET),
        (_EQUAL, 0, refuse + 3, _ARCHITECTURE),
        (_LOAD_WORD, 0, 0, _NUMBER_OFFSET),
        (_AT_LEAST, refuse + 1, 0, _X32_BIT),
        *((_EQUAL, refuse - place, 0, number) for place, number in enumerate(numbers)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def program_file() -> int:
    """A descriptor from which bubblewrap reads the filter once; the caller passes it on and closes it."""
    descriptor = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    os.write(descriptor, program())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
