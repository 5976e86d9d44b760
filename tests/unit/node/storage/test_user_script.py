from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.base.errors import InvalidInput
from insula.node.storage.user_script import first_boot_script


def config(text: str) -> list[str]:
    return first_boot_script(f"#cloud-config\n{text}").splitlines()


def test_a_script_is_taken_as_it_is() -> None:
    assert first_boot_script("#!/bin/busybox sh\necho 1") == "#!/bin/busybox sh\necho 1"


@pytest.mark.parametrize("blank", ["", "\n \n", "#cloud-config\n", "#cloud-config\n# nothing\n"])
def test_nothing_to_do_gives_no_script(blank: str) -> None:
    assert first_boot_script(blank) == ""


def test_commands_come_as_lines_and_as_words() -> None:
    lines = config("runcmd:\n - echo $HOME > /tmp/x\n - [touch, 'a b; rm -rf /']\n")
    assert lines == ["#!/bin/sh", "echo $HOME > /tmp/x", "touch 'a b; rm -rf /'"]


def test_the_order_is_that_of_cloud_init_whatever_the_order_in_the_file() -> None:
    lines = config("runcmd: [last]\nhostname: web1\nbootcmd: [first]\n")
    assert lines[1:] == ["first", "hostname web1", "echo web1 > /etc/hostname", "last"]


def test_files_are_written_with_their_mode() -> None:
    lines = config("write_files:\n - path: /opt/a b\n   content: \"it's\"\n   permissions: '0600'\n")
    encoded = base64.b64encode(b"it's").decode()
    assert lines[1:] == [
        "mkdir -p \"$(dirname '/opt/a b')\"",
        f"echo {encoded} | base64 -d > '/opt/a b'",
        "chmod 0600 '/opt/a b'",
    ]


def test_a_file_in_base64_is_decoded_once() -> None:
    data = base64.b64encode(b"\0\1binary").decode()
    assert f"echo {data} | base64 -d > /x" in config(f"write_files:\n - {{path: /x, content: {data}, encoding: b64}}\n")


def test_keys_are_added_and_cannot_escape_their_line() -> None:
    lines = config('ssh_authorized_keys: ["ssh-ed25519 AAAA it\'s; reboot"]\n')
    assert lines[1] == "printf '%s\\n' 'ssh-ed25519 AAAA it'\"'\"'s; reboot' >> /root/.ssh/authorized_keys"


def test_what_is_not_understood_is_said() -> None:
    assert config("packages: [vim]\nusers: []\n")[1] == "echo 'insula: this small guest does not know: packages, users'"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "not YAML"),
        ("- a\n", "mapping"),
        ("hostname: 1\n", "hostname must be text"),
        ("runcmd: echo\n", "runcmd must be a list"),
        ("write_files: [x]\n", "mapping with a path"),
        ("write_files: [{path: /x, permissions: 0600}]\n", "permissions must be text"),
        ("write_files: [{path: /x, content: 'abcde', encoding: b64}]\n", "not base64"),
        ("write_files: [{path: /x, encoding: gzip}]\n", "not known here"),
    ],
)
def test_a_wrong_cloud_config_names_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        config(text)
    assert reason in caught.value.why
    assert caught.value.fields["user_data"]


@given(st.text(max_size=200))
def test_any_text_gives_a_script_or_our_error(text: str) -> None:
    for user_data in (text, f"#cloud-config\n{text}"):
        with contextlib.suppress(InvalidInput):
            script = first_boot_script(user_data)
            assert script == "" or script.startswith("#!")


def test_passwords() -> None:
    text = "#cloud-config\nchpasswd:\n  users:\n  - {name: root, password: $6$a$b, type: hash}\n"
    assert "sed -i 's|^root:[^:]*:|root:$6$a$b:|' /etc/shadow" in first_boot_script(text).splitlines()
    for odd in (
        "{name: me, password: x, type: text}",
        "{name: 'r|e', password: $6$a$b}",
        "{name: root, password: 'x|e'}",
    ):
        script = first_boot_script(f"#cloud-config\nchpasswd:\n  users:\n  - {odd}\n")
        assert script.splitlines()[1].startswith("echo 'insula: this small guest takes hashes")
    for wrong in ("chpasswd: []", "chpasswd: {users: [x]}", "chpasswd: {users: [{name: 1}]}"):
        with pytest.raises(InvalidInput):
            first_boot_script(f"#cloud-config\n{wrong}\n")
