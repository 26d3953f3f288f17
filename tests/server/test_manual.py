"""What people read about the options."""

import string
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tricorn.config import DEFAULTS, LOG_PRESETS, OPTIONS, Config
from tricorn.forms import Kind
from tricorn.manual import describe, reference, usage
from tricorn.options import load
from tricorn.spellings import FLAGS

PAGE = Path(__file__).parents[2] / "docs" / "options.md"


def test_the_page_is_current():
    again = "run: python -m tricorn.manual > docs/options.md"
    assert PAGE.read_text("utf-8") == reference(), again


def test_the_page_names_every_spelling():
    page = reference()
    for flag in FLAGS:
        assert any(mark + flag + end in page for mark in "` " for end in "`, "), flag
    for option in OPTIONS.values():
        assert all(f"`{key}` in a file" in page for key in option.names.keys)


def test_help_shows_every_option_with_its_default_and_unit():
    text = usage()
    for name in OPTIONS:
        assert name == "application" or f"--{name.replace('_', '-')}" in text
    assert "[75 s]" in text
    assert "[8 KiB]" in text
    assert "[127.0.0.1:8000]" in text


def test_help_leaves_out_the_spellings_of_other_servers():
    text = usage()
    for hidden in ("--timeout-keep-alive", "--ssl-certfile", "--host", "--loop", "--http ", "-t,"):
        assert hidden not in text


def test_help_fits_a_terminal():
    assert max(map(len, usage().splitlines())) <= 100


def test_a_printed_configuration_names_every_option():
    text = describe(DEFAULTS)
    tomllib.loads(text)
    assert all(name in text for name in OPTIONS)


def test_a_printed_configuration_never_shows_the_password():
    text = describe(Config(certfile="c", keyfile_password="hunter2"))
    assert "hunter2" not in text
    assert "# keyfile_password is set, and not shown" in text


# Writing a configuration and reading it back

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
WORD = st.text(string.ascii_letters, min_size=1, max_size=8)
STRATEGIES = {
    Kind.FLAG: lambda form: st.booleans(),
    Kind.TEXT: lambda form: TEXT,
    Kind.SECRET: lambda form: st.just(""),  # It is not printed.
    Kind.CHOICE: lambda form: st.sampled_from(form.choices),
    Kind.COUNT: lambda form: _numbers(st.integers, form),
    Kind.BYTES: lambda form: _numbers(st.integers, form),
    Kind.OCTAL: lambda form: st.none() | _numbers(st.integers, form),
    Kind.SECONDS: lambda form: _numbers(st.floats, form),
    Kind.APPLICATION: lambda form: st.builds("{}.{}:{}".format, WORD, WORD, WORD).filter(
        lambda spec: not spec.endswith(".py")
    ),
    Kind.PREFIX: lambda form: st.just("") | WORD.map("/{}".format),
    Kind.ADDRESS: lambda form: st.lists(
        st.integers(0, 65_535).map(":{}".format) | TEXT.filter(len).map("unix:{}".format),
        unique=True,
        max_size=3,
    ).map(tuple),
    Kind.PEER: lambda form: st.lists(
        st.just("unix") | st.ip_addresses().map(str), unique=True, max_size=3
    ).map(tuple),
    Kind.FIELD_LINE: lambda form: st.lists(WORD.map("x-{0}: {0}".format), max_size=3).map(tuple),
}


def _numbers(strategy, form):
    return strategy(form.minimum, min(form.maximum, 2**53)) | st.sampled_from(
        [value for _, value in form.words] or [int(form.minimum) + 1]
    )


def _agreeing(made: Config) -> Config:
    """The same, without what would contradict each other."""
    made = replace(made, env_file=())  # they would be read
    made = replace(made, quic_server_id=made.quic_server_id.encode("ascii", "ignore")[:12].hex())
    if not made.certfile:
        made = replace(made, keyfile="", ca_certs="", insecure_bind=(), verify_mode="CERT_NONE")
    if not made.ca_certs or made.verify_mode == "CERT_NONE":
        made = replace(made, ca_certs="", verify_mode="CERT_NONE")
    if not made.certfile or made.ca_certs:
        made = replace(made, quic_bind=())
    if not made.workers:
        made = replace(made, health_bind=(), statsd_host="", drain_delay=0.0, control_socket="")
        made = replace(made, max_requests=0, workers_lifetime=0.0, workers_max_rss=0)
    if not made.max_requests:
        made = replace(made, max_requests_jitter=0)
    if "-" in (made.error_logfile, made.access_logfile):
        made = replace(made, daemon=False)
    bind = tuple(each for each in made.bind if each not in made.insecure_bind)
    known = made.access_logformat in LOG_PRESETS or "%(" in made.access_logformat
    return replace(
        made,
        bind=bind or ("[::1]:0",),
        limit_request_line=min(made.limit_request_line, made.limit_request_head),
        heartbeat_timeout=made.heartbeat_timeout if made.heartbeat_timeout >= 2 else 0.0,
        access_logformat=made.access_logformat if known else "%(r)s " + made.access_logformat,
    )


def _values(name, option):
    values = WORD if name == "server_name" else STRATEGIES[option.form.kind](option.form)
    if option.form.kind in (Kind.CHOICE, Kind.TEXT) and isinstance(getattr(DEFAULTS, name), tuple):
        return st.lists(values, min_size=1, max_size=3, unique=True).map(tuple)
    return values


CONFIGS = st.builds(
    Config, **{name: _values(name, option) for name, option in OPTIONS.items()}
).map(_agreeing)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(CONFIGS)
def test_a_printed_configuration_reads_back_the_same(tmp_path, made):
    file = tmp_path / "printed.toml"
    file.write_text(describe(made), "utf-8")
    assert load(["-c", str(file)], {}).config == made
