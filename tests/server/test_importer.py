"""Finding the application, and saying why it cannot be found."""

import asyncio
import sys
from textwrap import dedent

import pytest

from tricorn.importer import ImportFailed, load_application

APPLICATION = """
async def app(scope, receive, send):
    await send({"type": "answer", "name": scope["name"]})
"""


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    """Nothing that one test imports is there for the next."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def project(tmp_path):
    """Writes files into an application's directory and loads from it."""
    return Project(tmp_path)


class Project:
    def __init__(self, directory):
        self.directory = directory

    def write(self, path, text=APPLICATION):
        file = self.directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))
        return self

    def load(self, spec="main:app", *, factory=False):
        return load_application(spec, factory=factory, app_dir=str(self.directory))

    def failure(self, spec="main:app", *, factory=False):
        with pytest.raises(ImportFailed) as failed:
            self.load(spec, factory=factory)
        assert str(failed.value) == failed.value.sentence
        return failed.value

    def sentence(self, spec="main:app", *, factory=False):
        """Of a failure that is not in the application's code: there is no traceback to read."""
        failure = self.failure(spec, factory=factory)
        assert failure.detail == ""
        return failure.sentence


def answer(application):
    """What the application sends when it is called as ASGI 3."""
    sent = []

    async def receive():
        raise AssertionError("nothing is there to be received")

    async def send(message):
        sent.append(message)

    asyncio.run(application({"name": "x"}, receive, send))
    return sent


ANSWER = [{"type": "answer", "name": "x"}]


def test_finds_a_function(project):
    assert answer(project.write("main.py").load("main:app")) == ANSWER


def test_finds_it_in_a_package(project):
    project.write("a/__init__.py", "").write("a/b.py")
    assert answer(project.load("a.b:app")) == ANSWER


def test_finds_an_attribute_of_an_attribute(project):
    project.write("main.py", "class outer:\n    class inner:\n        pass\n" + APPLICATION)
    project.write("more.py", "from main import app, outer\nouter.inner.api = staticmethod(app)")
    assert answer(project.load("more:outer.inner.api")) == ANSWER


@pytest.mark.parametrize("name", ["app", "application"])
def test_the_usual_names_need_not_be_written(project, name):
    project.write("main.py", APPLICATION.replace("app(", f"{name}("))
    assert answer(project.load("main")) == ANSWER


def test_the_directory_is_first_on_the_path_once(project):
    project.write("main.py").load()
    project.load()
    assert sys.path[0] == str(project.directory)
    assert sys.path.count(str(project.directory)) == 1


def test_accepts_an_instance_that_can_be_called(project):
    project.write(
        "main.py",
        """
        class App:
            async def __call__(self, scope, receive, send):
                await send({"type": "answer", "name": scope["name"]})

        app = App()
        """,
    )
    assert answer(project.load()) == ANSWER


def test_accepts_a_class_whose_instances_can_be_awaited(project):
    project.write(
        "main.py",
        """
        class app:
            def __init__(self, scope, receive, send):
                self.name, self.send = scope["name"], send

            def __await__(self):
                return self.send({"type": "answer", "name": self.name}).__await__()
        """,
    )

    async def call(*arguments):
        await project.load()(*arguments)

    assert answer(call) == ANSWER


def test_accepts_what_cannot_be_inspected(project):
    project.write("main.py", "app = type('T', (), {'__call__': dict.update, '__signature__': 1})()")
    assert callable(project.load())


@pytest.mark.parametrize(
    "text",
    [
        """
        class app:
            def __init__(self, scope):
                self.scope = scope

            async def __call__(self, receive, send):
                await send({"type": "answer", "name": self.scope["name"]})
        """,
        """
        def app(scope):
            async def instance(receive, send):
                await send({"type": "answer", "name": scope["name"]})
            return instance
        """,
    ],
)
def test_wraps_asgi_2(project, text):
    assert answer(project.write("main.py", text).load()) == ANSWER


def test_calls_a_factory(project):
    project.write("main.py", APPLICATION + "\ndef create(name='x'):\n    return app\n")
    assert answer(project.load("main:create", factory=True)) == ANSWER


def test_calls_a_class_as_a_factory(project):
    project.write(
        "main.py",
        """
        class App:
            async def __call__(self, scope, receive, send):
                await send({"type": "answer", "name": scope["name"]})
        """,
    )
    assert answer(project.load("main:App", factory=True)) == ANSWER


# What is not there


def test_names_a_directory_that_is_not_there(project):
    project.directory /= "nowhere"
    assert project.sentence() == f"there is no directory {project.directory}: correct --app-dir"


def test_suggests_a_module_of_a_similar_name(project):
    project.write("main.py")
    expected = f"there is no module mian in {project.directory}; did you mean main?"
    assert project.sentence("mian:app") == expected


def test_suggests_a_module_of_a_similar_name_in_a_package(project):
    project.write("site_/__init__.py", "").write("site_/asgi.py")
    assert project.sentence("site_.agsi:app").endswith("did you mean site_.asgi?")
    assert project.sentence("sit_.asgi:app").endswith("did you mean site_.asgi?")


def test_finds_a_module_in_a_directory_below(project):
    project.write("src/main.py")
    assert project.sentence().endswith("there is one in src: add --app-dir src")


def test_says_how_to_name_the_directory_when_nothing_is_similar(project):
    assert project.sentence("zebra:app").endswith("or name its directory with --app-dir")


def test_says_that_a_module_is_no_package(project):
    project.write("main.py")
    assert "main is a file; write main:app?" in project.sentence("main.app")


def test_suggests_an_attribute_of_a_similar_name(project):
    file = project.write("main.py").directory / "main.py"
    expected = f"main ({file}) has no attribute ap; did you mean main:app?"
    assert project.sentence("main:ap") == expected


def test_suggests_an_attribute_of_an_attribute(project):
    project.write("main.py", "class api:\n    router = 1\n")
    expected = "main:api has no attribute routre; did you mean main:api.router?"
    assert project.sentence("main:api.routre") == expected


def test_suggests_what_looks_like_an_application(project):
    project.write("main.py", "import asyncio\n" + APPLICATION.replace("app(", "service("))
    assert project.sentence("main").endswith(
        "has neither app nor application; did you mean main:service?"
    )
    assert project.sentence("main:app").endswith("did you mean main:service?")


def test_says_how_to_name_an_attribute_when_none_looks_like_an_application(project):
    project.write("main.py", "x = 1")
    assert project.sentence("main").endswith("name the application's attribute: main:NAME")


# What is wrong with the application's code


def test_a_missing_import_of_the_application_is_told_apart(project):
    failure = project.write("main.py", "import no_such_thing").failure()
    assert failure.sentence == (
        "main imports no_such_thing, which cannot be found: install it or correct that"
    )
    assert 'main.py", line 1' in failure.detail


def test_an_import_of_the_application_that_has_its_own_name_is_told_apart(project):
    project.write("main.py", "import main.part")
    assert project.failure().sentence.startswith("main imports main.part, which cannot be found")


def test_a_module_that_raises_is_shown_with_its_own_frames_only(project):
    project.write("main.py", "import part").write("part.py", "def f():\n    1 / 0\nf()\n")
    failure = project.failure()
    assert failure.sentence == "main fails when it is imported: ZeroDivisionError: division by zero"
    shown = [line for line in failure.detail.splitlines() if line.startswith("  File")]
    assert [line.rpartition("/")[2] for line in shown] == [
        'main.py", line 1, in <module>',
        'part.py", line 3, in <module>',
        'part.py", line 2, in f',
    ]


def test_the_cause_of_an_exception_is_shown_with_its_own_frames_only(project):
    project.write(
        "main.py",
        """
        try:
            import no_such_thing
        except ImportError as error:
            raise RuntimeError("install the thing") from error
        """,
    )
    failure = project.failure()
    assert failure.sentence.endswith("RuntimeError: install the thing")
    assert "ModuleNotFoundError" in failure.detail
    assert "importlib" not in failure.detail
    assert "importer.py" not in failure.detail


def test_a_syntax_error_names_file_and_line(project):
    file = project.write("main.py", "def app(:\n").directory / "main.py"
    failure = project.failure()
    assert failure.sentence == f"{file}, line 1, is not valid Python: correct it"
    assert "def app(:" in failure.detail


def test_a_module_that_exits_does_not_end_the_worker(project):
    failure = project.write("main.py", "import sys\nsys.exit(0)").failure()
    assert failure.sentence == (
        'main exits when it is imported: do that under if __name__ == "__main__"'
    )
    assert "line 2" in failure.detail


def test_a_factory_that_raises_is_shown(project):
    failure = project.write("main.py", "def f():\n    1 / 0\n").failure("main:f", factory=True)
    assert failure.sentence == "the factory main:f fails: ZeroDivisionError: division by zero"
    assert "line 2, in f" in failure.detail
    assert "importer.py" not in failure.detail


# What is no ASGI application


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("app = 3", "main:app is of type int, not an application: name another one"),
        ("app = None", "main:app is None, not an application: name another one"),
        ("import app", "main:app is of type module, not an application"),
        ("def app(environ, start_response): ...", "main:app looks like a WSGI application"),
        (
            "class Flask:\n    def __call__(self, environ, start_response): ...\napp = Flask()",
            "main:app looks like a WSGI application",
        ),
        ("class app: ...", "main:app is a class: name an instance of it, or add --factory"),
        (
            "class app:\n    async def __call__(self, scope, receive, send): ...",
            "main:app is a class: name an instance of it, or add --factory",
        ),
        ("def app(): ...", "takes no arguments: if it returns the application, add --factory"),
        ("async def app(scope): ...", "takes (scope), but an ASGI application takes (scope, rec"),
        ("def app(settings): ...", "takes (settings), but an ASGI application takes (scope, rec"),
        ("async def app(request, response): ...", "takes (request, response), but an ASGI"),
        ("def app(a, b, c, *, d): ...", "takes (a, b, c, d), but an ASGI application takes"),
    ],
)
def test_refuses_what_is_no_application(project, text, sentence):
    project.write("main.py", text).write("app.py", "")
    assert sentence in project.sentence()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("f = 3", "main:f is of type int, not a factory: leave --factory out"),
        ("def f(scope, receive, send): ...", "main:f looks like the application itself: leave"),
        ("def f(settings): ...", "main:f takes (settings), but a factory is called without"),
        ("async def f(): ...", "main:f is async, but a factory is called without await: use def"),
        ("def f(): ...", "main:f() is None, not an application: name another one"),
    ],
)
def test_refuses_what_is_no_factory(project, text, sentence):
    assert sentence in project.write("main.py", text).sentence("main:f", factory=True)
