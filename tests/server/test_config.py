"""The declarations of config.py."""

from dataclasses import FrozenInstanceError, fields
from types import NoneType
from typing import get_args

import pytest

from tricorn.config import DEFAULTS, OPTIONS, Config
from tricorn.forms import Kind
from tricorn.values import read_toml, toml

TYPES = {
    Kind.FLAG: bool,
    Kind.COUNT: int,
    Kind.BYTES: int,
    Kind.OCTAL: int,
    Kind.SECONDS: float,
}


def test_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        DEFAULTS.workers = 3


def test_has_no_behaviour():
    names = {name for each in Config.__mro__[:-1] for name in vars(each)}
    own = {name for name in names if not name.startswith("__")}
    assert own == {each.name for each in fields(Config)}


def test_every_default_has_the_declared_type():
    for each in fields(Config):
        declared = get_args(each.type) or (each.type,)
        if isinstance(each.default, tuple):
            declared = (tuple,)
        assert type(each.default) in declared, each.name


def test_every_form_makes_values_of_the_declared_type():
    for each in fields(Config):
        made = TYPES.get(OPTIONS[each.name].form.kind, str)
        declared = set(get_args(each.type) or (each.type,)) - {NoneType, Ellipsis}
        assert declared == {made}, each.name


def test_every_default_is_one_that_could_be_given():
    for name, option in OPTIONS.items():
        default = getattr(DEFAULTS, name)
        for value in default if isinstance(default, tuple) else (default,):
            if value is not None:
                assert read_toml(option.form, _unquoted(toml(option.form, value))) == value


def test_every_option_has_a_help_without_a_full_stop():
    assert all(option.help and not option.help.endswith(".") for option in OPTIONS.values())


def test_the_password_does_not_show_in_a_representation():
    assert "hunter2" not in repr(Config(keyfile_password="hunter2"))


def _unquoted(literal):
    import tomllib

    return tomllib.loads(f"value = {literal}")["value"]
