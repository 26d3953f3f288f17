"""The certificate that clients are shown, as it is in its files: its chain, its key, its days."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from tricorn.config import Config, ConfigError

KEY = re.compile(rb"-----BEGIN ([A-Z ]*)PRIVATE KEY-----.+?-----END \1PRIVATE KEY-----", re.DOTALL)
CURVES = (ec.SECP256R1, ec.SECP384R1)
"""What aioquic signs handshakes with, beside RSA and Edwards curves."""


@dataclass(frozen=True, slots=True)
class Identity:
    certificate: x509.Certificate
    chain: list[x509.Certificate]
    """What is above it, without the root."""
    key: PrivateKeyTypes


def identity(config: Config) -> Identity:
    """What QUIC shows and signs with. Raises ConfigError if it cannot."""
    certificate, *chain = _certificates(config)
    path = config.keyfile or config.certfile
    found = KEY.search(_read(path))
    if found is None:
        raise ConfigError(f"there is no private key in {path}")
    # One that is not encrypted may have a password, for OpenSSL; here that is an error.
    locked = b"ENCRYPTED" in found[0]
    try:
        key = load_pem_private_key(found[0], config.keyfile_password.encode() if locked else None)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"the private key in {path} cannot be used for QUIC: {error}") from None
    if isinstance(key, ec.EllipticCurvePrivateKey):
        usable = isinstance(key.curve, CURVES)
    else:
        kinds = (rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)
        usable = isinstance(key, kinds)
    if not usable:
        raise ConfigError(
            f"the private key in {path} cannot be used for QUIC: it has to be RSA, P-256, P-384, "
            "Ed25519 or Ed448"
        )
    if _public(key.public_key()) != _public(certificate.public_key()):
        # OpenSSL says so for TCP; but the files may have been exchanged between the two readings.
        raise ConfigError(f"{path} is not the key of --certfile {config.certfile}")
    return Identity(certificate, chain, key)


def not_after(config: Config) -> datetime:
    """When the certificate ends. Raises ConfigError."""
    return _certificates(config)[0].not_valid_after_utc


def invalidity(config: Config, now: datetime | None = None) -> str:
    """Why no client will take the certificate today, "" if nothing is wrong. Raises ConfigError."""
    if not config.certfile:
        return ""
    certificate = _certificates(config)[0]
    now = now or datetime.now(UTC)
    if now > certificate.not_valid_after_utc:
        return f"--certfile {config.certfile} has expired on {certificate.not_valid_after_utc:%F}"
    if now < certificate.not_valid_before_utc:
        day = certificate.not_valid_before_utc
        return f"--certfile {config.certfile} is not valid before {day:%F %T} UTC"
    return ""


def _certificates(config: Config) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(_read(config.certfile))
    except ValueError as error:
        raise ConfigError(f"--certfile {config.certfile} cannot be read: {error}") from None
    return found


def _public(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
