"""The program that takes a machine's stream apart: random streams come out whole, hostile ones are refused."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.node.hypervisor.qemu import memory_stream
from insula.node.hypervisor.qemu.memory_stream import PAGE_BYTES, BadStreamError, Splitter

PAGES = 8
BLOCKS = {b"pc.ram": PAGES * PAGE_BYTES, b"pc.bios": 2 * PAGE_BYTES}
SECTION = (3).to_bytes(4, "big")


@dataclass(frozen=True)
class Page:
    """One page as QEMU sends it; without content it is of zeros."""

    block: bytes
    number: int
    content: bytes = b""


@dataclass
class Sender:
    """Writes a stream as QEMU does, and beside it what must come out as devices."""

    stream: bytes = b""
    devices: bytes = b""
    _block: bytes = b""
    _passed_block: bytes = b""

    def both(self, data: bytes) -> None:
        self.stream += data
        self.devices += data

    def head(self) -> None:
        self.both(b"QEVM" + number(3) + b"\x07" + number(11) + b"pc-q35-7.2\x00")
        self.both(b"\x05" + text(b"configuration/capabilities") + number(1) + number(1) + text(b"x-ignore-shared"))

    def begin(self, kind: int) -> None:
        self.both(bytes([kind]) + SECTION)
        if kind == 1:
            self.both(text(b"ram") + number(0) + number(4))
            self.both((sum(BLOCKS.values()) | 0x04).to_bytes(8, "big"))
            for name, size in BLOCKS.items():
                self.both(text(name) + size.to_bytes(8, "big") + bytes(8))

    def end(self) -> None:
        self.both((0x10).to_bytes(8, "big") + b"\x7e" + SECTION)

    def page(self, page: Page) -> None:
        flags = (0x08 if page.content else 0x02) | (0x20 if page.block == self._block else 0)
        head = (page.number * PAGE_BYTES | flags).to_bytes(8, "big")
        data = head + (b"" if page.block == self._block else text(page.block)) + (page.content or b"\0")
        self._block = page.block
        self.stream += data
        if page.block != b"pc.ram":
            self.devices += data


@dataclass
class Out:
    """What came out."""

    memory: bytearray = field(default_factory=lambda: bytearray(BLOCKS[b"pc.ram"]))
    devices: bytes = b""
    pages: int = 0


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def text(value: bytes) -> bytes:
    return bytes([len(value)]) + value


def split(stream: bytes) -> Out:
    out, devices = Out(), io.BytesIO()
    splitter = Splitter(io.BytesIO(stream), devices, out.memory, lambda _line: None)
    splitter.run()
    return Out(out.memory, devices.getvalue(), splitter.pages)


def sent(rounds: list[list[Page]], rest: bytes = b"\x04devices\x00") -> Sender:
    sender = Sender()
    sender.head()
    for place, pages in enumerate([[], *rounds, []]):
        sender.begin(1 if place == 0 else 3 if place == len(rounds) + 1 else 2)
        for page in pages:
            sender.page(page)
        sender.end()
    sender.both(rest)
    return sender


a_page = st.one_of(
    st.builds(
        Page,
        st.just(b"pc.ram"),
        st.integers(0, PAGES - 1),
        st.one_of(st.just(b""), st.binary(min_size=1, max_size=8).map(lambda seed: (seed * PAGE_BYTES)[:PAGE_BYTES])),
    ),
    st.builds(Page, st.just(b"pc.bios"), st.integers(0, 1), st.just(b"B" * PAGE_BYTES)),
)
SOUND = sent([[Page(b"pc.ram", 1, b"x" * PAGE_BYTES), Page(b"pc.ram", 1), Page(b"pc.bios", 0, b"B" * PAGE_BYTES)]])


@given(st.lists(st.lists(a_page, max_size=6), max_size=4), st.binary(max_size=64))
def test_the_last_content_of_each_page_is_in_memory_and_all_else_in_devices(
    rounds: list[list[Page]], rest: bytes
) -> None:
    sender = sent(rounds, rest)
    wanted = bytearray(BLOCKS[b"pc.ram"])
    for page in (page for pages in rounds for page in pages if page.block == b"pc.ram"):
        place = page.number * PAGE_BYTES
        wanted[place : place + PAGE_BYTES] = page.content or bytes(PAGE_BYTES)
    out = split(sender.stream)
    assert out.memory == wanted
    assert out.devices == sender.devices


@given(st.data())
def test_a_changed_stream_ends_or_is_refused(data: st.DataObject) -> None:
    stream = bytearray(SOUND.stream)
    for _ in range(data.draw(st.integers(1, 3))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    try:
        out = split(bytes(stream))
    except BadStreamError:
        return
    assert len(out.memory) == BLOCKS[b"pc.ram"]


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(stream: bytes) -> None:
    for begin in (b"", SOUND.stream[:60], SOUND.stream[:140]):
        with pytest.raises(BadStreamError):
            split(begin + stream)


@given(st.integers(0, len(SOUND.stream) - len(b"\x04devices\x00") - 1))
def test_a_stream_that_is_cut_off_is_refused(length: int) -> None:
    with pytest.raises(BadStreamError, match=r"too early|does not begin"):
        split(SOUND.stream[:length])


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (
            text(b"pc.ram") + (PAGES * PAGE_BYTES).to_bytes(8, "big"),
            text(b"pc.ram") + bytes(8),
            "too early|other sizes",
        ),
        (b"\x7e" + SECTION, b"\x7e" + number(9), "does not end as it began"),
        (b"\x02" + SECTION, b"\x04" + SECTION, "stands between"),
        (text(b"ram"), text(b"rom"), "not memory"),
        (text(b"configuration/capabilities"), text(b"configuration/capabilitiez"), "configuration has"),
        ((PAGE_BYTES | 0x08).to_bytes(8, "big"), (1 << 40 | 0x08).to_bytes(8, "big"), "lies outside"),
        ((PAGE_BYTES | 0x08).to_bytes(8, "big"), (PAGE_BYTES | 0x48).to_bytes(8, "big"), "with flags"),
        (
            (PAGE_BYTES | 0x22).to_bytes(8, "big") + b"\0",
            (PAGE_BYTES | 0x22).to_bytes(8, "big") + b"\1",
            "not of zeros",
        ),
    ],
)
def test_what_qemu_does_not_write_is_refused(old: bytes, new: bytes, why: str) -> None:
    assert old in SOUND.stream
    stream = SOUND.stream.replace(old, new, 1)
    with pytest.raises(BadStreamError, match=why):
        split(stream)


def test_devices_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_stream, "MOST_DEVICES_BYTES", 10_000)
    with pytest.raises(BadStreamError, match="more than"):
        split(SOUND.stream + bytes(10_000))
