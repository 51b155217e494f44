"""``-A`` finds the app in every usual form, and says in one line why it does not."""

from __future__ import annotations

import pytest

from talo.cli._errors import Refused
from talo.cli._find import find_app
from tests.unit.cli.conftest import Project

APP = "from talo import Talo\n\n{attribute} = Talo({name!r}, set_as_current=False)\n"


@pytest.mark.parametrize("attribute", ["app", "celery", "talo", "anything_else"])
def test_a_module_leads_to_its_app_whatever_it_is_called(project: Project, attribute: str) -> None:
    # Given
    module = f"{project.name}_{attribute}"
    project.write(module, APP.format(attribute=attribute, name=module))
    # Then
    assert find_app(module).main == module


@pytest.mark.parametrize("form", ["{0}:app", "{0}.app", "{0}", "{0}.py"])
def test_every_form_of_the_name_leads_to_the_app(project: Project, form: str) -> None:
    assert find_app(form.format(project.name)).main == project.name


@pytest.mark.parametrize("submodule", ["celery", "talo", "queue", "tasks"])
def test_a_package_leads_to_the_app_in_its_usual_submodules(project: Project, submodule: str) -> None:
    # Given
    package = f"{project.name}_{submodule}"
    project.write(f"{package}.__init__", "")
    project.write(f"{package}.{submodule}", APP.format(attribute="app", name=package))
    # Then
    for form in (package, f"{package}.{submodule}", f"{package}.{submodule}:app"):
        assert find_app(form).main == package


def test_the_usual_name_wins_over_other_apps_of_the_module(project: Project) -> None:
    # Given
    text = APP.format(attribute="other", name="other") + "app = Talo('right', set_as_current=False)\n"
    project.write(f"{project.name}_two", text)
    # Then
    assert find_app(f"{project.name}_two").main == "right"


def test_several_apps_of_other_names_have_to_be_told_apart(project: Project) -> None:
    # Given
    module = f"{project.name}_two"
    project.write(module, APP.format(attribute="one", name="one") + "two = Talo('two', set_as_current=False)\n")
    # Then
    with pytest.raises(Refused, match=f"say which: {module}:one or {module}:two"):
        find_app(module)


def test_the_current_app_is_not_taken_for_the_module_s_own(project: Project) -> None:
    # Given a module that only imports the proxy
    module = f"{project.name}_proxy"
    project.write(module, "from talo import current_app as app\n")
    # Then
    with pytest.raises(Refused, match="holds no Talo app: create one"):
        find_app(module)


def test_a_module_that_is_not_there_is_named_with_the_nearest_one(project: Project) -> None:
    told = project.talo("-A", f"{project.name}x", "queues")
    assert told.code == 2
    told.says_in_one_line(f"there is no module '{project.name}x'", f"did you mean {project.name}?")


def test_a_submodule_that_is_not_there_is_named_with_the_nearest_one(project: Project) -> None:
    # Given
    project.write(f"{project.name}_pkg.__init__", "")
    project.write(f"{project.name}_pkg.workers", "")
    # When
    told = project.talo("-A", f"{project.name}_pkg.worker:app", "queues")
    # Then
    told.says_in_one_line(f"did you mean {project.name}_pkg.workers?")


def test_an_attribute_that_is_not_there_is_named_with_the_nearest_one(project: Project) -> None:
    told = project.talo("-A", f"{project.name}:apps", "queues")
    assert told.code == 2
    told.says_in_one_line("has no attribute 'apps'", "did you mean 'app'?")


def test_an_attribute_that_is_no_app_is_told_with_the_app_there_is(project: Project) -> None:
    told = project.talo("-A", f"{project.name}:add", "queues")
    told.says_in_one_line("add is a Task, not a Talo app", f"there is {project.name}:app")


@pytest.mark.parametrize(
    ("name", "meant"), [("./web/tasks.py", "web.tasks"), (".web", "web"), ("web/", "web"), (".", "one of those in /")]
)
def test_the_name_of_a_file_or_folder_is_told_to_be_a_module(project: Project, name: str, meant: str) -> None:
    told = project.talo("-A", name, "queues")
    told.says_in_one_line(f"name a module, not a file or folder: {meant}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import os\nimport does_not_exist\n", ["line 2", "No module named 'does_not_exist'", "install what provides"]),
        ("x = (\n", ["line 1", "SyntaxError"]),
        ("def f():\n    return 1 / 0\n\n\nf()\n", ["line 2", "ZeroDivisionError: division by zero"]),
        ("raise SystemExit(3)\n", ["line 1", "SystemExit: 3"]),
    ],
)
def test_a_module_that_fails_is_told_with_file_and_line(project: Project, text: str, words: list[str]) -> None:
    # Given
    module = f"{project.name}_broken"
    project.write(module, text)
    # When
    told = project.talo("-A", module, "queues")
    # Then
    assert told.code == 2
    told.says_in_one_line(f"the module {module} cannot be imported, {module}.py", *words)


def test_settings_that_cannot_be_used_in_the_constructor_are_told_with_their_line(project: Project) -> None:
    # Given
    module = f"{project.name}_typo"
    project.write(module, "from talo import Talo\n\napp = Talo('x', task_serialiser='json')\n")
    # When
    told = project.talo("-A", module, "queues")
    # Then
    told.says_in_one_line("line 3", "task_serialiser is not a setting; did you mean task_serializer? To mend it, ")


def test_without_a_name_a_worker_says_how_to_name_one(project: Project) -> None:
    told = project.talo("worker")
    assert told.code == 2
    told.says_in_one_line("no app is named: write talo -A MODULE")
