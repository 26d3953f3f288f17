"""Reading the configuration: which source wins, what is accepted, what is refused and how."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tricorn.config import AUTO, DEFAULTS, Config, ConfigError
from tricorn.options import Loaded, load
from tricorn.spellings import FLAGS


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """An empty working directory: no pyproject.toml but the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(*argv, **environ) -> Config:
    return load(["main:app", *argv], environ).config


def config_of(text, *argv, **environ) -> Config:
    Path("tricorn.toml").write_text(text, "utf-8")
    return config("-c", "tricorn.toml", *argv, **environ)


def refusal(*argv, **environ) -> str:
    with pytest.raises(ConfigError) as refused:
        load(["main:app", *argv], environ)
    return str(refused.value)


def refusal_of(text) -> str:
    Path("tricorn.toml").write_text(text, "utf-8")
    return refusal("-c", "tricorn.toml")


# What is given


def test_an_application_alone_gives_the_defaults():
    assert load(["main:app"], {}) == Loaded(replace(DEFAULTS, application="main:app"))


def test_the_application_may_stand_anywhere():
    assert load(["-w", "4", "main:app", "--factory"], {}).config.application == "main:app"
    assert load(["-w", "4", "--", "main:app"], {}).config.application == "main:app"


def test_the_application_may_be_in_the_environment():
    assert load([], {"TRICORN_APPLICATION": "main:app"}).config.application == "main:app"


def test_the_application_may_be_in_the_file():
    Path("server.toml").write_text('application = "main:app"')
    assert load(["-c", "server.toml"], {}).config.application == "main:app"


def test_no_application_is_refused_with_an_example():
    with pytest.raises(ConfigError, match=r"no application is named; .* server module:app"):
        load([], {})


def test_a_second_application_is_refused():
    assert refusal("other:app") == "'other:app' is one argument too many: there is one application"


@pytest.mark.parametrize(
    "argv", [["--workers", "4"], ["--workers=4"], ["-w", "4"], ["-w4"], ["-w", "2", "-w", "4"]]
)
def test_a_value_may_follow_its_flag_in_any_usual_way(argv):
    assert config(*argv).workers == 4


def test_a_repeated_flag_makes_a_list():
    assert config("-b", ":1", "--bind=:2").bind == (":1", ":2")


def test_a_value_may_begin_with_a_dash():
    assert config("--access-logfile", "-").access_logfile == "-"


def test_a_switch_can_be_turned_on_and_off():
    assert config("--factory").factory is True
    assert config("--no-server-header").server_header is False
    assert config("--factory", "--no-factory").factory is False


def test_a_switch_takes_no_value():
    assert refusal("--factory=yes") == "--factory takes no value"


@pytest.mark.parametrize(
    "argv", [["--workers"], ["--bind", "--workers", "4"], ["-b", "--workers=4"], ["-b", "-w4"]]
)
def test_a_missing_value_is_noticed(argv):
    assert refusal(*argv) == f"{argv[0]} needs a value"


@pytest.mark.parametrize(
    ("flag", "action"),
    [
        ("--check-config", "check"),
        ("--print-config", "print"),
        ("--version", "version"),
        ("--help", "help"),
        ("-h", "help"),
    ],
)
def test_commands_are_told_to_the_caller(flag, action):
    assert load(["main:app", flag], {}).action == action


def test_help_reads_nothing_that_could_fail():
    assert load(["--help", "--wokers"], {"TRICORN_WORKERS": "x"}).action == "help"


def test_the_configuration_can_be_printed_without_an_application():
    assert load(["--print-config"], {}).config == DEFAULTS


def test_workers_auto_is_left_to_the_caller():
    assert config("-w", "auto").workers == AUTO


# Which source wins


def test_the_file_goes_before_the_default():
    assert config_of("workers = 3").workers == 3


def test_the_environment_goes_before_the_file():
    assert config_of("workers = 3", TRICORN_WORKERS="5").workers == 5


def test_the_command_line_goes_before_the_environment():
    assert config_of("workers = 3", "-w", "7", TRICORN_WORKERS="5").workers == 7


def test_a_list_is_replaced_and_never_joined():
    assert config_of('bind = [":1", ":2"]', "-b", ":3").bind == (":3",)


def test_a_default_on_the_command_line_still_goes_before_the_file():
    assert config_of("workers = 3", "-w", "1").workers == 1


@pytest.mark.parametrize("name", ["workers", "keep_alive", "graceful_timeout", "backlog"])
def test_one_name_has_three_spellings(name):
    flag = "--" + name.replace("_", "-")
    spelled = (
        config(flag, "17"),
        config(**{f"TRICORN_{name.upper()}": "17"}),
        config_of(f"{name} = 17"),
    )
    assert [getattr(each, name) for each in spelled] == [17, 17, 17]


# The environment


def test_commas_separate_a_list_in_the_environment():
    assert config(TRICORN_BIND=":1, unix:/run/a.sock,").bind == (":1", "unix:/run/a.sock")


def test_line_ends_separate_header_fields_in_the_environment():
    set_twice = config(TRICORN_HEADER="vary: a, b\nx: y\n")
    assert set_twice.header == ("vary: a, b", "x: y")


def test_web_concurrency_counts_where_workers_are_not_set():
    assert config(WEB_CONCURRENCY="3").workers == 3
    assert config("-w", "5", WEB_CONCURRENCY="3").workers == 5
    assert config(TRICORN_WORKERS="5", WEB_CONCURRENCY="3").workers == 5
    assert config_of("workers = 5", WEB_CONCURRENCY="3").workers == 5


def test_port_counts_where_no_address_is_set():
    assert config(PORT="9000").bind == ("0.0.0.0:9000",)
    assert config("-b", ":1", PORT="9000").bind == (":1",)
    assert config(TRICORN_BIND=":1", PORT="9000").bind == (":1",)
    assert config_of('bind = ":1"', PORT="9000").bind == (":1",)
    assert config("--host", "::1", PORT="9000").bind == ("[::1]:9000",)
    assert config("--port", "1", PORT="9000").bind == ("127.0.0.1:1",)


def test_an_empty_platform_variable_is_not_set():
    assert config(PORT="", WEB_CONCURRENCY="") == config()


@pytest.mark.parametrize("variable", ["PORT", "WEB_CONCURRENCY"])
def test_a_bad_platform_variable_is_named(variable):
    assert refusal(**{variable: "many"}).startswith(f"{variable}: ")


def test_a_bad_platform_variable_that_nobody_reads_does_no_harm():
    assert config("-b", ":1", "-w", "2", PORT="tcp://x", WEB_CONCURRENCY="x").workers == 2


def test_the_variables_of_a_kubernetes_service_are_not_ours():
    injected = {
        "TRICORN_SERVICE_HOST": "10.0.0.1",
        "TRICORN_SERVICE_PORT": "80",
        "TRICORN_SERVICE_PORT_HTTP": "80",
        "TRICORN_PORT": "tcp://10.0.0.1:80",
        "TRICORN_PORT_80_TCP": "tcp://10.0.0.1:80",
        "TRICORN_PORT_80_TCP_PROTO": "tcp",
        "TRICORN_PORT_80_TCP_PORT": "80",
        "TRICORN_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    assert config(**injected) == config()
    assert "did you mean TRICORN_BIND?" in refusal(TRICORN_PORT="8000")


# The file


def test_the_file_may_be_named_in_the_environment(directory):
    (directory / "a.toml").write_text("workers = 3")
    assert config(TRICORN_CONFIG="a.toml").workers == 3


def test_the_command_line_may_name_another_file(directory):
    (directory / "a.toml").write_text("workers = 3")
    (directory / "b.toml").write_text("workers = 4")
    assert config("-c", "b.toml", TRICORN_CONFIG="a.toml").workers == 4


def test_the_project_file_is_found_by_itself(directory):
    (directory / "pyproject.toml").write_text("[tool.tricorn]\nworkers = 3")
    loaded = load(["main:app"], {})
    assert (loaded.config.workers, loaded.source) == (3, Path("pyproject.toml"))


def test_a_project_file_without_a_table_for_us_is_no_source(directory):
    (directory / "pyproject.toml").write_text("[tool.other]\nworkers = 3")
    assert load(["main:app"], {}) == Loaded(config())


def test_a_named_file_goes_instead_of_the_project_file(directory):
    (directory / "pyproject.toml").write_text("[tool.tricorn]\nworkers = 3")
    assert config_of("backlog = 5").workers == 1


def test_a_named_project_file_is_read_from_its_table(directory):
    (directory / "sub").mkdir()
    (directory / "sub" / "pyproject.toml").write_text("[tool.tricorn]\nworkers = 3")
    assert config("-c", "sub/pyproject.toml").workers == 3


def test_a_named_project_file_must_have_the_table(directory):
    (directory / "pyproject.toml").write_text("[project]")
    assert refusal("-c", "pyproject.toml").endswith("there is no table [tool.tricorn]")


def test_project_of_which_nothing_can_be_known_is_the_operators_to_mend(directory):
    # As a directory is that the user of a container may not look into.
    (directory / "pyproject.toml").symlink_to("pyproject.toml")
    assert refusal("main:app").startswith("pyproject.toml: the file cannot be read: ")


def test_the_file_is_read_again_by_every_call():
    assert config_of("workers = 3").workers == 3
    assert config_of("workers = 4").workers == 4


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("workers = ", "tricorn.toml: the file is not valid TOML"),
        ("wokers = 3", "tricorn.toml: wokers is not an option; did you mean workers?"),
        ("port = 80", "did you mean bind?"),
        ("timeout_keep_alive = 3", "did you mean keep_alive?"),
        ("zzz = 3", "server --help lists the options"),
        ("preload = true", "preload is not offered by this version; leave it out"),
        ("[workers]\na = 1", "tricorn.toml: workers: {'a': 1} is not a whole number"),
        ("workers = 'x'", "tricorn.toml: workers: 'x' is not a whole number from 0 to 512"),
        ("bind = [3]", "tricorn.toml: bind: 3 is not an address"),
        ("config = 'x'", "config is not an option"),
        ("keep_alive = 1\nkeep_alive_timeout = 2", "sets keep_alive a second time; remove one"),
    ],
)
def test_a_mistake_in_the_file_names_file_and_key(text, sentence):
    assert sentence in refusal_of(text)


def test_a_file_that_cannot_be_read_is_named(directory):
    assert refusal("-c", "no.toml") == "no.toml: the file cannot be read: No such file or directory"
    assert refusal("-c", ".") == ".: the file cannot be read: Is a directory"
    (directory / "latin.toml").write_bytes(b"name = '\xe9'")
    assert refusal("-c", "latin.toml").startswith("latin.toml: the file is not valid TOML")


@pytest.mark.parametrize("name", ["gunicorn.conf.py", "python:conf", "file:conf.py"])
def test_configuration_in_python_is_refused(name):
    assert refusal("-c", name) == f"{name}: a configuration is a TOML file; Python is not read"


# Mistakes


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--wokers", "4"], "--wokers is not an option; did you mean --workers?"),
        (["--no-factry"], "--no-factry is not an option; did you mean --no-factory?"),
        (["--zzzzzz"], "--zzzzzz is not an option; server --help lists the options"),
        (["-z"], "-z is not an option; server --help lists the options"),
        (["--preload"], "--preload is not offered by this version; leave it out"),
        (["--workers", "-1"], "--workers: '-1' is not a whole number from 0 to 512, or auto"),
        (["-w", "x"], "-w: 'x' is not a whole number"),
        (["--timeout-keep-alive", "x"], "--timeout-keep-alive: 'x' is not a time"),
        (["-k", "trio"], "-k: 'trio' is not one of uvloop, asyncio"),
        (["--interface", "wsgi"], "--interface wsgi is not offered"),
    ],
)
def test_a_mistake_on_the_command_line_names_the_flag(argv, sentence):
    assert sentence in refusal(*argv)


@pytest.mark.parametrize(
    ("variable", "text", "sentence"),
    [
        ("TRICORN_WOKERS", "4", "TRICORN_WOKERS is not an option; did you mean TRICORN_WORKERS?"),
        ("TRICORN_workers", "4", "TRICORN_workers is not an option; did you mean TRICORN_WORKERS?"),
        ("TRICORN_ACCESSLOG", "-", "did you mean TRICORN_ACCESS_LOGFILE?"),
        ("TRICORN_CHECK_CONFIG", "1", "TRICORN_CHECK_CONFIG is not an option"),
        ("TRICORN_", "1", "TRICORN_ is not an option"),
        ("TRICORN_PRELOAD", "1", "TRICORN_PRELOAD is not offered by this version"),
        ("TRICORN_WORKERS", "x", "TRICORN_WORKERS: 'x' is not a whole number"),
        ("TRICORN_WORKERS", "", "TRICORN_WORKERS: '' is not a whole number"),
        ("TRICORN_FACTORY", "maybe", "TRICORN_FACTORY: 'maybe' is not one of 1, true, yes, on"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(variable, text, sentence):
    assert sentence in refusal(**{variable: text})


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--keyfile", "k"], "keyfile is set without certfile: add --certfile"),
        (["--keyfile-password", "k"], "keyfile_password is set without certfile"),
        (["--ca-certs", "k"], "ca_certs is set without certfile"),
        (["--insecure-bind", ":1"], "insecure_bind is set without certfile"),
        (["--certfile", "c", "--verify-mode", "CERT_REQUIRED"], "add --ca-certs"),
        (["--certfile", "c", "--ca-certs", "a"], "add --verify-mode CERT_REQUIRED"),
        (["-b", ":1", "-b", ":1"], "the address :1 is given twice: leave one out"),
        (["--limit-request-line", "64k"], "raise --limit-request-head"),
        (["--server-name", "a..b"], "server_name 'a..b' is no host name"),
        (["--server-name", "https://x"], "server_name 'https://x' is no host name"),
        (["--quic-server-id", "0x"], "quic_server_id '0x' is no server ID"),
        (["--quic-server-id", "123"], "quic_server_id '123' is no server ID"),
        (["--quic-server-id", "00" * 13], "is no server ID: write 1 to 12 octets"),
        (["--server-name", "x:443"], "write it without scheme, port and path"),
        (["--heartbeat-timeout", "500ms"], "raise it, or 0 = off"),
        (["--max-requests-jitter", "5"], "add --max-requests"),
        (["-w", "0", "--max-requests", "5"], "leave out --workers 0"),
        (["-w", "0", "--workers-lifetime", "1h"], "workers_lifetime needs a master"),
        (["-w", "0", "--health-bind", ":1"], "health_bind needs a master"),
        (["-w", "0", "--control-socket", "c"], "control_socket needs a master"),
        (["-D"], "error_logfile - is the terminal, which --daemon leaves: name a file"),
        (["-D", "--error-logfile", "e", "--access-log"], "access_logfile - is the terminal"),
        (["--access-logformat", "comon"], "none of common, combined, json"),
    ],
)
def test_options_that_contradict_each_other_are_refused(argv, sentence):
    assert sentence in refusal(*argv)


def test_an_empty_list_of_addresses_is_refused():
    assert "there is no address to listen on: add --bind" in refusal_of("bind = []")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.text(max_size=12) | st.sampled_from([*FLAGS, "4"]), max_size=6))
def test_any_command_line_is_read_or_refused_with_a_sentence(argv):
    try:
        load(argv, {})
    except ConfigError as refused:
        assert str(refused)
