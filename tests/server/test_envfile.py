"""envfile.py: the variables of an application, in a file."""

import pytest

from tricorn.config import ConfigError
from tricorn.envfile import parse
from tricorn.options import load


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("A=", ""),
        ("export A=b", "b"),
        ("A = b c ", "b c"),
        ("A=b # said", "b"),
        ("A=b#c", "b#c"),
        ("A= # nothing", ""),
        ("A='b # \"c\" \\n'", 'b # "c" \\n'),
        ('A="b # \\"c\\" \\n\\t\\\\" # said', 'b # "c" \n\t\\'),
        ("A=postgres://u:p@h/d?x=y&z", "postgres://u:p@h/d?x=y&z"),
        ("A=it's", "it's"),
    ],
)
def test_a_line_is_a_variable(line, value):
    assert parse(f"\n# said\n{line}\n", "x") == {"A": value}


@pytest.mark.parametrize("line", ["A", "=b", "1A=b", "A-B=c", "A='b", 'A="b', "A='b'c", "export A"])
def test_what_is_no_variable_is_named_by_its_line(line):
    with pytest.raises(ConfigError) as refused:
        parse(f"B=1\n{line} secret\n", "x.env")
    assert str(refused.value) == "--env-file x.env: line 2 is not NAME=VALUE"


def test_which_files_there_are_is_not_for_them_to_say():
    for name in ("TRICORN_CONFIG", "TRICORN_ENV_FILE"):
        with pytest.raises(ConfigError, match="cannot be set in here"):
            parse(f"{name}=x", "x")


# As an option


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.env").write_text("WHO=a\nTRICORN_WORKERS=3\nPORT=81\n")
    (tmp_path / "b.env").write_text("WHO=b\n")
    return tmp_path


def test_options_may_be_in_it_below_the_environment():
    argv = ["main:app", "--env-file", "a.env"]
    assert load(argv, {}).config.workers == 3
    assert load(argv, {}).config.bind == ("0.0.0.0:81",)
    assert load(argv, {"TRICORN_WORKERS": "4"}).config.workers == 4
    assert load([*argv, "-w", "5"], {}).config.workers == 5


def test_later_files_go_before_earlier_ones():
    loaded = load(["main:app", "--env-file", "a.env", "--env-file", "b.env"], {})
    assert loaded.variables == {"WHO": "b", "TRICORN_WORKERS": "3", "PORT": "81"}
    assert load(["main:app"], {}).variables == {}


def test_the_environment_or_a_configuration_may_name_it(directory):
    assert load(["main:app"], {"TRICORN_ENV_FILE": "b.env"}).variables == {"WHO": "b"}
    (directory / "x.toml").write_text('env_file = ["a.env"]\n')
    assert load(["main:app", "-c", "x.toml"], {}).config.workers == 3


def test_one_that_cannot_be_read_is_an_error(directory):
    with pytest.raises(ConfigError, match="--env-file none: No such file"):
        load(["main:app", "--env-file", "none"], {})
    (directory / "c.env").write_bytes(b"A=\xff")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load(["main:app", "--env-file", "c.env"], {})
    (directory / "d.env").write_text("TRICORN_WOKERS=3")
    with pytest.raises(ConfigError, match="did you mean TRICORN_WORKERS"):
        load(["main:app", "--env-file", "d.env"], {})
