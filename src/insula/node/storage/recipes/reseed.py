"""The program `/usr/lib/insula/reseed` of a guest: fresh randomness for its kernel, and the right time.

Only an `ioctl` of the superuser makes the kernel's generator forget what a copied memory knew; what is written to
`/dev/urandom` is mixed in some time later. No shell can do that, an interpreter takes most of a second on an emulated
CPU, and a compiler is nothing to ask of a host. So here are its 349 bytes of machine code, written out for x86-64.

It reads exactly 64 bytes from standard input. Its argument, if any, is the time to set, in seconds since 1970 with or
without a fraction; with the argument `-` that is the next line of standard input, so that it can be started before it
is needed. It reads no byte beyond. It ends with 1 when the input is too short, 2 when the generator refuses, 3 when the
clock does.
Source: random(4), Linux `include/uapi/linux/random.h`, `arch/x86/entry/syscalls/syscall_64.tbl`, elf(5).
"""

from __future__ import annotations

import struct

RESEED = "usr/lib/insula/reseed"

_BASE = 0x400000
_HEADERS_BYTES = 64 + 56

# Registers: rbp the argument, ebx bytes read and then the open file, edi how the program ends.
_CODE = bytes.fromhex(
    "488b6c2410"  # start: mov rbp, [rsp + 16]          argv[1], or null
    "4883ec70"  # sub rsp, 112                          struct rand_pool_info with 64 bytes, room for a line
    "31db"  # xor ebx, ebx
    "31c0"  # read: xor eax, eax                        read(
    "31ff"  # xor edi, edi                              0,
    "488d741c08"  # lea rsi, [rsp + rbx + 8]            behind what is there,
    "ba40000000"  # mov edx, 64                         what is missing)
    "29da"  # sub edx, ebx
    "0f05"  # syscall
    "bf01000000"  # mov edi, 1
    "85c0"  # test eax, eax
    "0f8e2c010000"  # jle exit
    "01c3"  # add ebx, eax
    "83fb40"  # cmp ebx, 64
    "75da"  # jne read
    "4885ed"  # test rbp, rbp
    "743f"  # jz pool
    "807d002d"  # cmp byte [rbp], '-'
    "7539"  # jne pool
    "488d6c2450"  # lea rbp, [rsp + 80]                 the line: its next byte is at rsp + rbx + 16
    "31c0"  # line: xor eax, eax                        read(
    "31ff"  # xor edi, edi                              0,
    "488d741c10"  # lea rsi, [rsp + rbx + 16]           behind what is there,
    "ba01000000"  # mov edx, 1                          one byte)
    "0f05"  # syscall
    "bf01000000"  # mov edi, 1
    "39f8"  # cmp eax, edi
    "0f85f8000000"  # jne exit
    "ffc3"  # inc ebx
    "83fb60"  # cmp ebx, 96                             as long as there is room
    "0f84ed000000"  # je exit
    "807c1c0f0a"  # cmp byte [rsp + rbx + 15], newline
    "75d1"  # jne line
    "c6441c0f00"  # mov byte [rsp + rbx + 15], 0
    "c7042400020000"  # pool: mov dword [rsp], 512      bits of entropy that it counts for
    "c744240440000000"  # mov dword [rsp + 4], 64       bytes
    "b802000000"  # mov eax, 2                          open(
    "488d3dcd000000"  # lea rdi, [rip + path]           "/dev/urandom",
    "be01000000"  # mov esi, 1                          O_WRONLY)
    "0f05"  # syscall
    "89c3"  # mov ebx, eax
    "bf02000000"  # mov edi, 2
    "85c0"  # test eax, eax
    "0f88b0000000"  # js exit
    "b810000000"  # mov eax, 16                         ioctl(
    "89df"  # mov edi, ebx                              it,
    "be03520840"  # mov esi, 0x40085203                 RNDADDENTROPY,
    "4889e2"  # mov rdx, rsp                            the structure)
    "0f05"  # syscall
    "bf02000000"  # mov edi, 2
    "85c0"  # test eax, eax
    "0f8592000000"  # jnz exit
    "b810000000"  # mov eax, 16                         ioctl(
    "89df"  # mov edi, ebx                              it,
    "be07520000"  # mov esi, 0x5207                     RNDRESEEDCRNG)
    "0f05"  # syscall
    "bf02000000"  # mov edi, 2
    "85c0"  # test eax, eax
    "757b"  # jnz exit
    "4885ed"  # test rbp, rbp
    "7474"  # jz done
    "4531c0"  # xor r8d, r8d                            seconds
    "4531c9"  # xor r9d, r9d                            nanoseconds
    "0fb64500"  # seconds: movzx eax, byte [rbp]
    "48ffc5"  # inc rbp
    "83e830"  # sub eax, '0'
    "83f809"  # cmp eax, 9
    "7709"  # ja fraction                               unsigned: whatever is no digit
    "4d6bc00a"  # imul r8, r8, 10
    "4901c0"  # add r8, rax
    "ebe8"  # jmp seconds
    "b900e1f505"  # fraction: mov ecx, 100000000        what the first digit behind the point is worth
    "be0a000000"  # mov esi, 10
    "83f8fe"  # cmp eax, '.' - '0'
    "751f"  # jne set
    "0fb64500"  # digit: movzx eax, byte [rbp]
    "48ffc5"  # inc rbp
    "83e830"  # sub eax, '0'
    "83f809"  # cmp eax, 9
    "7710"  # ja set
    "0fafc1"  # imul eax, ecx
    "4101c1"  # add r9d, eax
    "89c8"  # mov eax, ecx                              the next one a tenth of it
    "31d2"  # xor edx, edx
    "f7f6"  # div esi
    "89c1"  # mov ecx, eax
    "ebe1"  # jmp digit
    "bf03000000"  # set: mov edi, 3
    "83f8d0"  # cmp eax, 0 - '0'                        the argument must end here
    "7520"  # jne exit
    "4c890424"  # mov [rsp], r8                         struct timespec
    "4c894c2408"  # mov [rsp + 8], r9
    "b8e3000000"  # mov eax, 227                        clock_settime(
    "31ff"  # xor edi, edi                              CLOCK_REALTIME,
    "4889e6"  # mov rsi, rsp                            the structure)
    "0f05"  # syscall
    "bf03000000"  # mov edi, 3
    "85c0"  # test eax, eax
    "7502"  # jnz exit
    "31ff"  # done: xor edi, edi
    "b83c000000"  # exit: mov eax, 60                   exit(edi)
    "0f05"  # syscall
)
_PATH = b"/dev/urandom\0"


def reseed_program() -> bytes:
    """A static ELF file: one segment, readable and executable, that holds the whole file."""
    size = _HEADERS_BYTES + len(_CODE) + len(_PATH)
    # 64-bit, little-endian, an executable for x86-64 that begins behind its headers; no sections.
    header = struct.pack(
        *("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, _BASE + _HEADERS_BYTES, 64, 0, 0),
        *(64, 56, 1, 64, 0, 0),
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return header + segment + _CODE + _PATH
