"""Certificates for the tests, made where they are needed."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Files:
    """A certificate and its key, in PEM."""

    certificate: str
    key: str

    @property
    def options(self) -> tuple[str, ...]:
        return ("--certfile", self.certificate, "--keyfile", self.key)


class Authority:
    """Signs certificates that its own `client_context` trusts."""

    def __init__(self, name: str = "Tests") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = (
            _builder(self.name, self.name, self.key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False
            )
            .sign(self.key, hashes.SHA256())
        )

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    def write(self, directory: Path) -> str:
        """The path of the authority's own certificate."""
        path = directory / "authority.pem"
        path.write_text(self.pem)
        return str(path)

    def issue(
        self,
        directory: Path,
        name: str,
        *,
        organization: str = "",
        password: str = "",
        days: tuple[float, float] = (-1, 1),
        key: PrivateKey | None = None,
    ) -> Files:
        """A certificate for `name`, which is a host, or a client; valid on these days from now."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        if organization:
            attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
        names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        certificate = (
            _builder(x509.Name(attributes), self.name, key, days)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(signer, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        lock = BestAvailableEncryption(password.encode()) if password else NoEncryption()
        paths = Files(str(directory / f"{name}.pem"), str(directory / f"{name}.key"))
        Path(paths.certificate).write_bytes(certificate.public_bytes(Encoding.PEM))
        key_file = Path(paths.key)
        key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))
        key_file.chmod(0o600)
        return paths

    def client_context(self, files: Files | None = None) -> ssl.SSLContext:
        """Trusts this authority; with `files` shows that certificate."""
        context = ssl.create_default_context(cadata=self.pem)
        if files is not None:
            context.load_cert_chain(files.certificate, files.key)
        return context


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: PrivateKey,
    days: tuple[float, float] = (-1, 1),
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * DAY)
        .not_valid_after(now + days[1] * DAY)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
