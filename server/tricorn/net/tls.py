"""SSLContext from Config. Whatever is wrong ends the start with one sentence."""

from __future__ import annotations

import os
import ssl
import stat
from functools import lru_cache
from typing import Any

from tricorn.config import Config, ConfigError

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

# RFC4514§3, for the names of client certificates.
ATTRIBUTES = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}


def server_context(config: Config) -> ssl.SSLContext | None:
    """The context of the secure listeners, None without a certificate. Raises ConfigError.

    To be made before the fork: OpenSSL makes the key of session tickets with the context, so that
    workers that share the context resume each other's sessions.
    """
    if not config.certfile:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = VERSIONS[config.tls_min_version]
    # RFC5746: a client that renegotiates at will is an attack on our processor.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_IGNORE_UNEXPECTED_EOF
    context.set_alpn_protocols(list(config.alpn))
    try:
        context.set_ciphers(config.ciphers)
    except ssl.SSLError:
        raise ConfigError(f"--ciphers {config.ciphers!r} names no cipher that is known") from None
    _load_certificate(context, config)
    context.verify_mode = ssl.VerifyMode[config.verify_mode]
    if config.ca_certs:
        _readable("--ca-certs", config.ca_certs)
        try:
            context.load_verify_locations(config.ca_certs)
        except ssl.SSLError as error:
            raise ConfigError(
                f"--ca-certs {config.ca_certs} has no usable certificate ({error.reason})"
            ) from None
    return context


def warnings(config: Config) -> list[str]:
    """What is not wrong with the certificate's files, and still worth a line in the log."""
    keyfile = config.keyfile or config.certfile
    if keyfile and os.stat(keyfile).st_mode & stat.S_IROTH:
        return [f"the private key {keyfile} can be read by everybody on this machine"]
    return []


def describe(encrypted: ssl.SSLObject) -> dict[str, Any]:
    """The `tls` extension of the ASGI scope (ASGI TLS extension 0.2)."""
    chain: list[str] = []
    name = None
    if certificate := encrypted.getpeercert(binary_form=True):
        chain = [ssl.DER_cert_to_PEM_cert(certificate)]
        name = _distinguished_name(encrypted.getpeercert() or {})
    cipher = encrypted.cipher()
    return {
        "server_cert": None,
        "client_cert_chain": chain,
        "client_cert_name": name,
        "client_cert_error": None,
        "tls_version": _VERSION_NUMBERS.get(encrypted.version() or ""),
        "cipher_suite": _cipher_numbers(encrypted.context).get(cipher[0]) if cipher else None,
    }


_VERSION_NUMBERS = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


@lru_cache(maxsize=8)
def _cipher_numbers(context: ssl.SSLContext) -> dict[str, int]:
    """IANA's number of each cipher suite, by OpenSSL's name."""
    return {cipher["name"]: cipher["id"] & 0xFFFF for cipher in context.get_ciphers()}


def _distinguished_name(certificate: dict[str, Any]) -> str:
    """The subject as RFC4514§2 writes it: most specific part first."""
    parts = []
    for relative in reversed(certificate.get("subject", ())):
        parts.append("+".join(f"{ATTRIBUTES.get(k, k)}={_escaped(v)}" for k, v in relative))
    return ",".join(parts)


def _escaped(value: str) -> str:
    """RFC4514§2.4."""
    text = "".join("\\" + each if each in '",+;<>\\' else each for each in value)
    if text.startswith(("#", " ")):
        text = "\\" + text
    if text.endswith(" ") and len(text) > 1:
        text = text[:-1] + "\\ "
    return text


def _load_certificate(context: ssl.SSLContext, config: Config) -> None:
    _readable("--certfile", config.certfile)
    if config.keyfile:
        _readable("--keyfile", config.keyfile)
    asked = False

    def password() -> str:
        # Without it OpenSSL would ask at the terminal, and wait for ever.
        nonlocal asked
        asked = True
        return config.keyfile_password

    try:
        context.load_cert_chain(config.certfile, config.keyfile or None, password)
    except (ssl.SSLError, ValueError) as error:  # a ValueError for a password over 1024 octets
        key = config.keyfile or config.certfile
        reason = getattr(error, "reason", None) or error
        if reason == "KEY_VALUES_MISMATCH":
            sentence = f"--keyfile {key} is not the key of --certfile {config.certfile}"
        elif asked:
            sentence = f"--keyfile {key} is encrypted, and --keyfile-password does not open it"
        else:
            sentence = (
                f"--certfile {config.certfile} and --keyfile {key} are no certificate with its "
                f"key in PEM ({reason})"
            )
        raise ConfigError(sentence) from None


def _readable(option: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise ConfigError(f"{option} {path}: {error.strerror}") from None
