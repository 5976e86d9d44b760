"""Our own certification authority, and the certificate that the service shows over HTTPS.

The authority's key never leaves its folder. Its certificate is constrained to the names that the service has (RFC 5280,
4.2.1.10), so that whoever trusts it trusts it with nothing else. The service's certificate lasts three months and is
renewed by itself while the service runs; the authority lasts ten years.
Source: RFC 5280; CA/Browser Forum Baseline Requirements 7.1.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import ssl
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from insula.base.clock import now_utc
from insula.base.errors import DataCorrupt
from insula.base.files import write_atomic
from insula.base.log import get_logger

_log = get_logger(__name__)

AUTHORITY = "ca.pem"
_AUTHORITY_KEY, _OWN, _OWN_KEY = "ca.key", "server.pem", "server.key"
_AUTHORITY_LASTS, _OWN_LASTS = timedelta(days=3650), timedelta(days=90)
_RENEWED_BEFORE = timedelta(days=30)
_LOOK_EVERY_S = 12 * 3600.0
_CLOCKS_DIFFER = timedelta(hours=1)
_LOOPBACK = ("127.0.0.0/8", "::1/128")


class Certificates:
    """The authority in `folder`, made when it is not there, and a certificate of it for `names` (hosts, addresses)."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder = folder
        self._names = tuple(dict.fromkeys(("localhost", "127.0.0.1", "::1", *names)))
        self._context: ssl.SSLContext | None = None

    def prepare(self) -> None:
        """Make what is missing or about to end. Blocking; repeatable. Raises DataCorrupt and OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key, authority = self._authority()
        if not self._is_good(authority):
            self._renew(key, authority)

    @property
    def authority_pem(self) -> str:
        """The authority's certificate, for clients to trust."""
        return (self._folder / AUTHORITY).read_text()

    def context(self) -> ssl.SSLContext:
        """What a listener needs; it shows renewed certificates from then on. Call :meth:`prepare` first."""
        if self._context is None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.minimum_version = ssl.TLSVersion.TLSv1_2
            self._context.load_cert_chain(self._folder / _OWN, self._folder / _OWN_KEY)
        return self._context

    async def keep_fresh(self) -> None:
        """Renew what is about to end, for ever; run it as a task."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            await asyncio.to_thread(self.renew)

    def renew(self) -> None:
        """As :meth:`prepare`, and show what is new to new connections."""
        self.prepare()
        if self._context is not None:
            self._context.load_cert_chain(self._folder / _OWN, self._folder / _OWN_KEY)

    def _authority(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        files = self._folder / _AUTHORITY_KEY, self._folder / AUTHORITY
        if all(path.exists() for path in files):
            key, known = _read_key(files[0]), _read_certificate(files[1])
            if _permits(known, self._names):
                return key, known
            _log.warning("another authority is made, for names that the present one is not for", names=self._names)
        key = ec.generate_private_key(ec.SECP256R1())
        made = _authority_certificate(key, self._names)
        _write_key(files[0], key)
        write_atomic(files[1], made.public_bytes(serialization.Encoding.PEM), mode=0o644)
        _log.info("certification authority made", folder=str(self._folder))
        return key, made

    def _is_good(self, authority: x509.Certificate) -> bool:
        files = self._folder / _OWN, self._folder / _OWN_KEY
        if not all(path.exists() for path in files):
            return False
        found = _read_certificate(files[0])
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        is_ours = found.issuer == authority.subject and set(names) == set(_general_names(self._names))
        return is_ours and found.not_valid_after_utc - now_utc() > _RENEWED_BEFORE

    def _renew(self, authority_key: ec.EllipticCurvePrivateKey, authority: x509.Certificate) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        made = (
            _builder("Insula", authority.subject, key, _OWN_LASTS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(_general_names(self._names)), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
            .sign(authority_key, hashes.SHA256())
        )
        # The key first: a service that was killed in between finds no certificate that fits, and makes both anew.
        (self._folder / _OWN).unlink(missing_ok=True)
        _write_key(self._folder / _OWN_KEY, key)
        write_atomic(self._folder / _OWN, made.public_bytes(serialization.Encoding.PEM), mode=0o644)
        _log.info("certificate made", until=made.not_valid_after_utc.isoformat())


def _builder(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, lasts: timedelta
) -> x509.CertificateBuilder:
    now: datetime = now_utc()
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(now + lasts)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _authority_certificate(key: ec.EllipticCurvePrivateKey, names: Sequence[str]) -> x509.Certificate:
    name = f"Insula CA of {os.uname().nodename[:40]}"
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = dict.fromkeys(
        (
            *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
            *("encipher_only", "decipher_only"),
        ),
        False,
    )
    return (
        _builder(name, issuer, key, _AUTHORITY_LASTS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
        .add_extension(x509.NameConstraints(_permitted(names), None), critical=True)
        .sign(key, hashes.SHA256())
    )


def _permits(authority: x509.Certificate, names: Sequence[str]) -> bool:
    constraints = authority.extensions.get_extension_for_class(x509.NameConstraints).value
    return set(_permitted(names)) <= set(constraints.permitted_subtrees or ())


def _permitted(names: Sequence[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_network(prefix)) for prefix in _LOOPBACK]
    for name in names:
        address = _address(name)
        if address is None:
            found.append(x509.DNSName(name))
        elif not address.is_loopback:
            found.append(x509.IPAddress(ipaddress.ip_network(address)))
    return found


def _general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for name in names:
        address = _address(name)
        found.append(x509.DNSName(name) if address is None else x509.IPAddress(address))
    return found


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    form = serialization.PrivateFormat.PKCS8
    content = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    write_atomic(path, content, mode=0o600)


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _damaged(path, "It is no key of ours")
    return key


def _read_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, why: str) -> DataCorrupt:
    return DataCorrupt(
        f"The file {path} is damaged",
        why=why,
        todo=f"Remove the folder {path.parent}; a new authority is made, which clients have to be told of",
        code="certificate-damaged",
    )
