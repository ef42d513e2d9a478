"""TLS of the embedded stores: an authority of this home alone, and one certificate.

The authority's key signs once and is thrown away, so nobody can make a second certificate that the
authority's file would vouch for. Both expire together and are made anew together.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from greenlight.adapters.stack.ports import LOOPBACK
from greenlight.core.files import write_atomically

VALID = timedelta(days=1825)
RENEWED = timedelta(days=90)
"""So long before the end new ones are made."""
BACKDATED = timedelta(hours=1)
"""A clock that is set back a little must not make the certificate one of the future."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """Files in PEM format. `server` holds the certificate and its key, mode 600."""

    ca: Path
    server: Path


def certificates_in(folder: Path) -> Certificates:
    """Return where a folder keeps them."""
    return Certificates(ca=folder / "ca.pem", server=folder / "server.pem")


def ensure_certificates(
    found: Certificates, *, now: datetime, hosts: Sequence[str] = (LOOPBACK,)
) -> bool:
    """Make new ones when these are missing, broken or near the end. Return whether they were made.

    `hosts`: names and addresses that new ones are for; one that is good is left for what it is for.
    Programs that run keep what they have read: who got new files must be started again.
    """
    if _are_good(found, now=now):
        return False
    _make(found, now=now, hosts=hosts)
    return True


def _are_good(found: Certificates, *, now: datetime) -> bool:
    try:
        ca = x509.load_pem_x509_certificate(found.ca.read_bytes())
        server = x509.load_pem_x509_certificate(found.server.read_bytes())
        key = load_pem_private_key(found.server.read_bytes(), password=None)
        server.verify_directly_issued_by(ca)
    except (OSError, ValueError, TypeError, InvalidSignature):
        return False
    return (
        key.public_key() == server.public_key()
        and server.not_valid_before_utc <= now < server.not_valid_after_utc - RENEWED
    )


def _make(found: Certificates, *, now: datetime, hosts: Sequence[str]) -> None:
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name, ca_name = _name(hosts[0]), _name("Greenlight embedded stores")
    identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = (
        _builder(ca_name, ca_name, ca_key, now=now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    names = [name for host in hosts for name in _alternatives(host)]
    both_ends = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    server = (
        _builder(name, ca_name, key, now=now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(both_ends), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(issuer, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_atomically(found.server, secret + server.public_bytes(Encoding.PEM), mode=0o600)
    write_atomically(found.ca, ca.public_bytes(Encoding.PEM))


def _alternatives(host: str) -> list[x509.GeneralName]:
    """Return an address as a name too: pgBackRest looks among the names only."""
    try:
        return [x509.IPAddress(ipaddress.ip_address(host)), x509.DNSName(host)]
    except ValueError:
        return [x509.DNSName(host)]


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, *, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + VALID)
    )
