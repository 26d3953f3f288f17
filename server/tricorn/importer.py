"""Finds the application: from "module:attribute" to a callable that speaks ASGI 3."""

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from difflib import get_close_matches
from types import ModuleType
from typing import cast

from tricorn.connection import Application, Message, Scope

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

USUAL_NAMES = ("app", "application")


class ImportFailed(Exception):
    """There is no application to serve.

    `sentence` says what to do about it. `detail` is the traceback through the application's own
    code where the fault is in it, otherwise "".
    """

    def __init__(self, sentence: str, detail: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.detail = detail


def load_application(spec: str, *, factory: bool, app_dir: str) -> Application:
    """The ASGI 3 application that `spec` names; puts `app_dir` first on sys.path.

    With `factory` the attribute is called to get it. ASGI 2 applications are wrapped. Raises
    ImportFailed.
    """
    directory = os.path.abspath(app_dir)
    if not os.path.isdir(directory):
        raise ImportFailed(f"there is no directory {directory}: correct --app-dir")
    if sys.path[:1] != [directory]:
        sys.path.insert(0, directory)

    name, _, path = spec.partition(":")
    module = _module(name, directory)
    path = path or _usual_name(module)
    found = _attribute(module, path)
    if factory:
        return _application(f"{name}:{path}()", _made(f"{name}:{path}", found))
    return _application(f"{name}:{path}", found)


def _module(name: str, directory: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # What is missing may as well be something that the application's module imports.
        if error.name and f"{name}.".startswith(f"{error.name}.") and not _their_frames(error):
            raise ImportFailed(_absence(name, error.name, directory)) from None
        sentence = f"{name} imports {error.name}, which cannot be found: install it or correct that"
        raise ImportFailed(sentence, _trace(error)) from error
    except SyntaxError as error:
        sentence = f"{error.filename}, line {error.lineno}, is not valid Python: correct it"
        raise ImportFailed(sentence, _trace(error)) from error
    except SystemExit as error:
        sentence = f'{name} exits when it is imported: do that under if __name__ == "__main__"'
        raise ImportFailed(sentence, _trace(error)) from error
    except Exception as error:  # Whatever the application's code may raise.
        sentence = f"{name} fails when it is imported: {_told(error)}"
        raise ImportFailed(sentence, _trace(error)) from error


def _absence(name: str, missing: str, directory: str) -> str:
    """Why there is no module `missing` on the way to `name`, and which one may be meant."""
    parent, _, last = missing.rpartition(".")
    places = [directory]
    if parent:
        places = list(getattr(sys.modules[parent], "__path__", ()))
        if not places:
            return f"there is no module {missing}: {parent} is a file; write {parent}:{last}?"

    sentence = f"there is no module {missing} in {places[0]}"
    present = [each for place in places for each in _modules_in(place)]
    if near := get_close_matches(last, present, n=1):
        prefix = f"{parent}." if parent else ""
        return f"{sentence}; did you mean {prefix}{near[0]}{name[len(missing) :]}?"
    for below in () if parent else sorted(os.listdir(directory)):
        if last in _modules_in(os.path.join(directory, below)):
            return f"{sentence}; there is one in {below}: add --app-dir {below}"
    return f"{sentence}; correct the name, or name its directory with --app-dir"


def _modules_in(directory: str) -> list[str]:
    """The names that can be imported from `directory`, if it is one."""
    if not os.path.isdir(directory):
        return []
    names = []
    for file in os.listdir(directory):
        stem, suffix = os.path.splitext(file)
        package = not suffix and os.path.isdir(os.path.join(directory, file))
        if stem.isidentifier() and (package or suffix == ".py"):
            names.append(stem)
    return names


def _usual_name(module: ModuleType) -> str:
    for name in USUAL_NAMES:
        if hasattr(module, name):
            return name
    usual = " nor ".join(USUAL_NAMES)
    raise ImportFailed(f"{module.__name__}{_file(module)} has neither {usual}{_advice(module)}")


def _attribute(module: ModuleType, path: str) -> object:
    found: object = module
    walked = module.__name__
    separator = ":"
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            near = get_close_matches(name, dir(found), n=1)
            advice = f"; did you mean {walked}{separator}{near[0]}?" if near else _advice(module)
            sentence = f"{walked}{_file(found)} has no attribute {name}{advice}"
            raise ImportFailed(sentence) from None
        walked, separator = f"{walked}{separator}{name}", "."
    return found


def _advice(module: ModuleType) -> str:
    """Which of the module's names look like applications."""
    likely = [
        f"{module.__name__}:{name}"
        for name, value in vars(module).items()
        if not name.startswith("_") and _asynchronous(value) and _takes(value, 3)
    ]
    if likely:
        return f"; did you mean {' or '.join(likely)}?"
    return f"; name the application's attribute: {module.__name__}:NAME"


def _file(found: object) -> str:
    """Where a module is, since it may not be the one that the operator thinks of."""
    file = getattr(found, "__file__", None) if isinstance(found, ModuleType) else None
    return f" ({file})" if file else ""


def _made(spelled: str, factory: object) -> object:
    """What the factory returns."""
    if not callable(factory):
        raise ImportFailed(f"{spelled} is {_kind(factory)}, not a factory: leave --factory out")
    if _takes(factory, 3) and not _takes(factory, 0):
        raise ImportFailed(f"{spelled} looks like the application itself: leave --factory out")
    if not _takes(factory, 0):
        raise ImportFailed(
            f"{spelled} takes ({', '.join(_parameters(factory))}), but a factory is called without "
            "arguments: give them defaults"
        )
    if _asynchronous(factory):
        raise ImportFailed(f"{spelled} is async, but a factory is called without await: use def")
    try:
        return cast(object, factory())
    except (Exception, SystemExit) as error:  # Whatever the application's code may raise.
        raise ImportFailed(f"the factory {spelled} fails: {_told(error)}", _trace(error)) from error


def _application(spelled: str, found: object) -> Application:
    if not callable(found):
        raise ImportFailed(f"{spelled} is {_kind(found)}, not an application: name another one")
    # Calling a class makes an instance; one that can be awaited is ASGI 3 all the same.
    ready = not inspect.isclass(found) or hasattr(found, "__await__")
    if ready and _takes(found, 3):
        return cast(Application, found)
    if _takes(found, 1) and _parameters(found) == ["scope"] and not _asynchronous(found):
        return _single(found)

    if ready and _takes(found, 2) and not _asynchronous(found):
        advice = (
            "looks like a WSGI application, and only ASGI is offered yet: wrap it, for example in "
            "asgiref.wsgi.WsgiToAsgi"
        )
    elif not ready:
        advice = "is a class: name an instance of it, or add --factory to have one made"
    elif _takes(found, 0):
        advice = "takes no arguments: if it returns the application, add --factory"
    else:
        takes = ", ".join(_parameters(found))
        advice = (
            f"takes ({takes}), but an ASGI application takes (scope, receive, send): correct it"
        )
    raise ImportFailed(f"{spelled} {advice}")


def _single(double: Callable[..., object]) -> Application:
    """An ASGI 2 application as ASGI 3: one call with the scope, and one of the result."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        instance = cast(Callable[[Receive, Send], Awaitable[None]], double(scope))
        await instance(receive, send)

    return application


def _takes(found: object, count: int) -> bool:
    """Whether it can be called with `count` arguments; True where only calling it would tell."""
    if not callable(found):
        return False
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):  # Compiled code need not say.
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def _parameters(found: Callable[..., object]) -> list[str]:
    """The names of what a call must give; only for what _takes() has inspected."""
    return [
        name
        for name, each in inspect.signature(found).parameters.items()
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]


def _asynchronous(found: object) -> bool:
    if inspect.iscoroutinefunction(found):
        return True
    return callable(found) and inspect.iscoroutinefunction(type(found).__call__)


def _kind(found: object) -> str:
    return "None" if found is None else f"of type {type(found).__name__}"


def _told(error: BaseException) -> str:
    """The error in one line."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _trace(error: BaseException) -> str:
    """The traceback of the application's code, without the way there through ours."""
    report = traceback.TracebackException.from_exception(error)
    pending = [report]
    while pending:
        each = pending.pop()
        each.stack = traceback.StackSummary.from_list(
            [frame for frame in each.stack if _theirs(frame)]
        )
        pending += filter(None, (each.__cause__, each.__context__))
    return "".join(report.format())


def _their_frames(error: BaseException) -> list[traceback.FrameSummary]:
    return [frame for frame in traceback.extract_tb(error.__traceback__) if _theirs(frame)]


def _theirs(frame: traceback.FrameSummary) -> bool:
    ours = frame.filename in (__file__, importlib.__file__)
    return not ours and not frame.filename.startswith("<frozen importlib")
