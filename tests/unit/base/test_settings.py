from __future__ import annotations

from pathlib import Path

import pytest

from insula.base.errors import InvalidInput
from insula.base.settings import SETTINGS, load


def test_defaults_follow_the_home(tmp_path: Path) -> None:
    settings = load({"INSULA_HOME": str(tmp_path)})
    assert settings.url == f"unix:{tmp_path}/run/insula.sock"
    assert settings.database_url == f"sqlite:///{tmp_path}/control/insula.sqlite"
    assert (settings.listen_host, settings.listen_port) == ("127.0.0.1", 7780)
    assert settings.socket_path == tmp_path / "run" / "insula.sock"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INSULA_LISTEN", "7780"),
        ("INSULA_LISTEN", "127.0.0.1:99999"),
        ("INSULA_LISTEN", ":80"),
        ("INSULA_LISTEN_TLS", "on"),
        ("INSULA_DRIVER", "xen"),
        ("INSULA_FAKE_BOOT_S", "soon"),
        ("INSULA_ACCELERATOR", "hvf"),
        ("INSULA_TEMPLATES", "sometimes"),
        ("INSULA_TEMPLATE_MEMORY_MIB", "0"),
        ("INSULA_TEMPLATE_DISK_GIB", "much"),
        ("INSULA_OVERCOMMIT_VCPU", "many"),
        ("INSULA_OVERCOMMIT_DISK", "-1"),
        ("INSULA_RATE_LIMIT", "0"),
        ("INSULA_POOL_MEMORY_MIB", "-1"),
        ("INSULA_OVERCOMMIT_MEMORY", "nan"),
    ],
)
def test_a_bad_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(InvalidInput, match=name) as caught:
        load({name: value})
    assert caught.value.todo
    assert name in SETTINGS


def test_a_pool_can_be_switched_off() -> None:
    assert load({"INSULA_POOL_MEMORY_MIB": "0"}).pool_memory_mib == 0


def test_there_is_a_pool_only_where_templates_are_made_by_themselves() -> None:
    assert load({}).pool_memory_mib == 1024
    assert load({"INSULA_TEMPLATES": "asked"}).pool_memory_mib == 0
    assert load({"INSULA_TEMPLATES": "asked", "INSULA_POOL_MEMORY_MIB": "64"}).pool_memory_mib == 64


def test_https_has_the_next_port_unless_told_otherwise() -> None:
    assert load({}).listen_tls == ("127.0.0.1", 7781)
    assert load({"INSULA_LISTEN": "192.0.2.1:80"}).listen_tls == ("192.0.2.1", 81)
    assert load({"INSULA_LISTEN": "127.0.0.1:0"}).listen_tls is None
    assert load({"INSULA_LISTEN_TLS": "off"}).listen_tls is None
    assert load({"INSULA_LISTEN_TLS": "[::1]:8443"}).listen_tls == ("::1", 8443)


def test_ipv6_addresses_are_understood() -> None:
    settings = load({"INSULA_LISTEN": "[::1]:7790"})
    assert (settings.listen_host, settings.listen_port) == ("::1", 7790)


def test_the_fake_driver_boots_at_once_unless_told_otherwise() -> None:
    assert load({}).fake_boot_s == 0
    assert load({"INSULA_FAKE_BOOT_S": "1.5"}).fake_boot_s == 1.5
