"""certificates.py: what is in the files, and whether clients and QUIC take it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.support.certificates import Authority
from tricorn.certificates import identity, invalidity, not_after
from tricorn.config import Config, ConfigError


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def config(authority, tmp_path) -> Config:
    files = authority.issue(tmp_path, "localhost")
    return Config(certfile=files.certificate, keyfile=files.key)


def test_certificate_is_valid_on_its_days_only(config):
    today = datetime.now(UTC)
    assert invalidity(config) == ""
    assert f"has expired on {today + timedelta(days=1):%F}" in invalidity(
        config, today + timedelta(days=1, minutes=1)
    )
    assert "is not valid before" in invalidity(config, today - timedelta(days=2))
    assert abs(not_after(config) - today - timedelta(days=1)) < timedelta(minutes=1)
    assert invalidity(Config()) == ""


def test_chain_and_key_may_be_one_file(authority, config, tmp_path):
    both = tmp_path / "both.pem"
    parts = [Path(config.certfile).read_text(), authority.pem, Path(config.keyfile).read_text()]
    for order in (parts, [parts[2], *parts[:2]]):
        both.write_text("".join(order))
        found = identity(Config(certfile=str(both)))
        assert len(found.chain) == 1
        assert found.key.private_numbers() == identity(config).key.private_numbers()


def test_key_may_have_a_password(authority, tmp_path):
    files = authority.issue(tmp_path, "locked", password="sesame")
    locked = Config(certfile=files.certificate, keyfile=files.key, keyfile_password="sesame")
    assert identity(locked)
    with pytest.raises(ConfigError, match="cannot be used for QUIC"):
        identity(replace(locked, keyfile_password="wrong"))


def test_password_of_a_key_that_needs_none_is_left_alone(config):
    assert identity(replace(config, keyfile_password="sesame"))


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 2048)], ids=["rsa"])
def test_other_kinds_of_keys_can_be_used(authority, tmp_path, key):
    files = authority.issue(tmp_path, "other", key=key)
    assert identity(Config(certfile=files.certificate, keyfile=files.key))


def test_key_that_quic_cannot_sign_with_is_refused(authority, tmp_path):
    files = authority.issue(tmp_path, "p521", key=ec.generate_private_key(ec.SECP521R1()))
    with pytest.raises(ConfigError, match="has to be RSA, P-256, P-384, Ed25519 or Ed448"):
        identity(Config(certfile=files.certificate, keyfile=files.key))


def test_key_of_another_certificate_is_refused(authority, config, tmp_path):
    other = authority.issue(tmp_path, "other")
    with pytest.raises(ConfigError, match="is not the key of"):
        identity(replace(config, keyfile=other.key))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"keyfile": ""}, "there is no private key in"),
        ({"keyfile": "/none"}, "/none: No such file"),
        ({"certfile": "/dev/null"}, "--certfile /dev/null cannot be read"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(config, changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        identity(replace(config, **changes))
