"""Our authority is trusted for our names only, and what it signs is renewed before it ends."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from insula.base.errors import DataCorrupt
from insula.frontends import certificates
from insula.frontends.certificates import Certificates

_HOST = "api.example.com"


def made(folder: Path, *names: str) -> Certificates:
    found = Certificates(folder, names or (_HOST,))
    found.prepare()
    return found


@contextmanager
def listening(served: Certificates) -> Iterator[int]:
    """A port where a connection is taken over TLS, again and again."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:  # it is closed
                    return
                try:
                    with served.context().wrap_socket(connection, server_side=True) as secured:
                        secured.recv(1)
                except OSError:
                    continue

        threading.Thread(target=take, daemon=True).start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)


def shown(port: int, trusted: str, name: str) -> x509.Certificate:
    """The certificate that a client sees that trusts an authority and wants a name. Raises what it does not believe."""
    context = ssl.create_default_context(cadata=trusted)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=name) as secured,
    ):
        found = secured.getpeercert(binary_form=True)
        assert found is not None
        return x509.load_der_x509_certificate(found)


def test_clients_that_trust_it_believe_its_names_and_no_others(tmp_path: Path) -> None:
    served = made(tmp_path)
    with listening(served) as port:
        for name in (_HOST, "localhost", "127.0.0.1"):
            shown(port, served.authority_pem, name)
        with pytest.raises(ssl.SSLCertVerificationError):
            shown(port, served.authority_pem, "bank.example.com")
        with pytest.raises(ssl.SSLCertVerificationError):
            shown(port, made(tmp_path / "other").authority_pem, _HOST)


def test_whoever_trusts_it_does_not_trust_it_with_other_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if its key is stolen."""
    served = made(tmp_path)
    monkeypatch.setattr(certificates, "_permits", lambda authority, names: True)
    stolen = made(tmp_path, _HOST, "bank.example.com")
    with listening(stolen) as port, pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
        shown(port, served.authority_pem, "bank.example.com")


def test_it_stays_and_keys_are_for_nobody_else(tmp_path: Path) -> None:
    first = made(tmp_path)
    own = (tmp_path / "server.pem").read_bytes()
    assert made(tmp_path).authority_pem == first.authority_pem
    assert (tmp_path / "server.pem").read_bytes() == own
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "ca.key": 0o600,
        "ca.pem": 0o644,
        "server.key": 0o600,
        "server.pem": 0o644,
    }


def test_what_is_about_to_end_is_renewed_while_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as short:
        short.setattr(certificates, "_OWN_LASTS", timedelta(days=29))
        served = made(tmp_path)
    with listening(served) as port:
        first = shown(port, served.authority_pem, _HOST)
        served.renew()
        second = shown(port, served.authority_pem, _HOST)
        assert second.not_valid_after_utc - first.not_valid_after_utc > timedelta(days=60)
        served.renew()
        assert shown(port, served.authority_pem, _HOST) == second


def test_another_name_makes_another_authority_only_when_the_present_one_is_not_for_it(tmp_path: Path) -> None:
    first = made(tmp_path, _HOST, "two.example.com").authority_pem
    assert made(tmp_path, _HOST).authority_pem == first
    other = made(tmp_path, "three.example.com")
    assert other.authority_pem != first
    with listening(other) as port:
        shown(port, other.authority_pem, "three.example.com")


@pytest.mark.parametrize("name", ["ca.key", "ca.pem", "server.pem"])
def test_damage_is_told(tmp_path: Path, name: str) -> None:
    made(tmp_path)
    (tmp_path / name).write_text("nothing")
    with pytest.raises(DataCorrupt, match=name):
        made(tmp_path)


def test_a_killed_service_leaves_what_is_made_anew(tmp_path: Path) -> None:
    served = made(tmp_path)
    (tmp_path / "server.pem").unlink()
    again = made(tmp_path)
    with listening(again) as port:
        assert shown(port, served.authority_pem, _HOST).not_valid_after_utc
