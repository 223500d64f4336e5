"""Certificates for a TLS server in a test, sound ones and others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Certificate = Literal["sound", "of_another_ca", "expired", "of_another_host"]
"""The server's; *sound* is for ``localhost`` and ``127.0.0.1``."""

DAY = timedelta(days=1)
HERE = (x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1")))
THERE = (x509.DNSName("keys.example"),)


class Authority:
    """A certificate authority; two of them have one name and different keys."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _name("Test authority")
        self.certificate = (
            _begun(self.name, self.name, self.key.public_key(), days=1)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    def certify(
        self,
        key: ec.EllipticCurvePublicKey,
        names: tuple[x509.GeneralName, ...],
        days: int,
    ) -> x509.Certificate:
        """A server's certificate that ends in so many *days*; they may be negative."""
        return (
            _begun(_name("Test server"), self.name, key, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(
                    self.key.public_key()
                ),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self.key, hashes.SHA256())
        )


def write_certificates(directory: Path, certificate: Certificate) -> None:
    """Write ``ca.pem``, which a client trusts, and ``server.pem``, with its key."""
    trusted = Authority()
    by = Authority() if certificate == "of_another_ca" else trusted
    key = ec.generate_private_key(ec.SECP256R1())
    names = THERE if certificate == "of_another_host" else HERE
    days = -1 if certificate == "expired" else 1
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    issued = by.certify(key.public_key(), names, days)
    (directory / "ca.pem").write_bytes(trusted.certificate.public_bytes(pem))
    (directory / "server.pem").write_bytes(private + issued.public_bytes(pem))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)  # TLS asks the real clock
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * DAY)
        .not_valid_after(now + days * DAY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


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
