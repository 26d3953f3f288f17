"""The tables of spellings."""

import re

from tricorn.config import OPTIONS
from tricorn.spellings import FLAGS, IGNORED, KEYS, LATER, SUGAR


def test_no_spelling_has_two_meanings():
    spelled = [f"--{name.replace('_', '-')}" for name in OPTIONS]
    for option in OPTIONS.values():
        spelled += [each for each in (option.names.short, *option.names.aliases) if each]
    spelled += [f"--{name}" for name in SUGAR] + list(IGNORED)
    assert len(spelled) == len(set(spelled))


def test_no_file_key_has_two_meanings():
    keys = [*OPTIONS, *(key for option in OPTIONS.values() for key in option.names.keys)]
    assert len(keys) == len(set(keys)) == len(KEYS)


def test_nothing_offered_is_said_to_come_later():
    bare = {flag[2:].replace("-", "_") if flag[:2] == "--" else flag for flag in FLAGS}
    assert not [each for each in bare | set(KEYS) if re.fullmatch(LATER, each)]


def test_short_flags_mean_what_they_mean_to_hypercorn():
    meant = {"-b": "bind", "-c": "config", "-k": "worker_class", "-m": "umask", "-w": "workers"}
    meant |= {"-D": "daemon", "-g": "group", "-p": "pid", "-u": "user"}
    assert {flag: FLAGS[flag].name for flag in meant} == meant
