"""SSH public keys: real ones pass, everything else is told apart."""

from __future__ import annotations

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.base.errors import InvalidInput
from insula.control.actions.ssh_keys import parse_public_key

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGihrpT22+K63uRJhB+YFpOBBCOPoNY8mq6XHCwEWrDG ada@laptop"
FINGERPRINT = "SHA256:HDWcdMbnLnifTHwpPUewKYuDdqVoKWIaOShv31vaAxg"  # by ssh-keygen -l


def blob(*parts: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def line(kind: str, content: bytes) -> str:
    return f"{kind} {base64.b64encode(content).decode()}"


def rsa(bits: int) -> str:
    return line("ssh-rsa", blob(b"ssh-rsa", b"\x01\x00\x01", b"\x00" + (1 << (bits - 1)).to_bytes(bits // 8, "big")))


def test_a_key_keeps_its_comment() -> None:
    parsed = parse_public_key(f"  {ED25519}\n")
    assert parsed.text == ED25519
    assert parsed.fingerprint == FINGERPRINT


@pytest.mark.parametrize(
    "text",
    [
        rsa(2048),
        line("ecdsa-sha2-nistp256", blob(b"ecdsa-sha2-nistp256", b"nistp256", b"\x04" + b"x" * 64)),
        line("sk-ssh-ed25519@openssh.com", blob(b"sk-ssh-ed25519@openssh.com", b"k" * 32, b"ssh:")),
    ],
)
def test_other_kinds(text: str) -> None:
    assert parse_public_key(text).text == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "one line"),
        ("ssh-ed25519", "one line"),
        (f"{ED25519}\n{ED25519}", "one line"),
        ("ssh-dss AAAA", "not known"),
        ("ssh-ed25519 !!!!", "damaged"),
        (ED25519[:60], "damaged"),
        (line("ssh-ed25519", blob(b"ssh-rsa", b"x" * 32)), "another type"),
        (line("ssh-ed25519", blob(b"ssh-ed25519", b"x" * 31)), "has 32 bytes"),
        (line("ssh-ed25519", blob(b"ssh-ed25519", b"x" * 32, b"more")), "after the end"),
        (rsa(1024), "at least 2048 bits"),
    ],
)
def test_what_is_no_key(text: str, told: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_public_key(text, "ssh_keys[0]")
    assert told in caught.value.fields["ssh_keys[0]"]
    assert caught.value.todo


def test_a_private_key_is_called_one() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_public_key("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----")
    assert caught.value.code == "private-key"
    assert "MIIE" not in str(caught.value)


@given(st.text(max_size=200))
def test_no_text_breaks_it(text: str) -> None:
    for candidate in (text, f"ssh-ed25519 {text}", line("ssh-rsa", text.encode("utf-8", "ignore"))):
        with pytest.raises(InvalidInput):
            parse_public_key(candidate)
