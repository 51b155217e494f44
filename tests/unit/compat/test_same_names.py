"""The alias beside the real Celery, each in a process of its own: the same names, and the same family of errors."""

from __future__ import annotations

import json

import pytest

from tests.unit.compat.conftest import ALIAS, Run

#: Modules of which the alias has all that the real one exports.
WHOLE = (
    "celery.app.base celery.app.log celery.app.registry celery.app.task celery.backends.base celery.bootsteps "
    "celery.canvas celery.contrib.abortable celery.events.receiver celery.exceptions celery.schedules celery.signals "
    "celery.states celery.utils.nodenames celery.worker celery.worker.request"
).split()
#: Those of which it lacks what only Celery itself has a use for.
PARTS = {
    "celery": {"_find_option_with_arg", "_original_os_write", "__file__"},
    "celery.app": {"AppPickler"},
    "celery.beat": {"BeatPidbox"},
    "celery.result": {"ResultBase"},
    "celery.worker.control": set(),
    "celery.worker.consumer": set(),
}
EXPORTS = """
import importlib, json
print(json.dumps({m: [n for n in getattr(importlib.import_module(m), "__all__", [])] for m in MODULES}))
"""
FAMILY = """
import celery.exceptions as e, json
names = sorted(n for n in NAMES if isinstance(getattr(e, n, None), type))
print(json.dumps([[a, b] for a in names for b in names if a != b and issubclass(getattr(e, a), getattr(e, b))]
    + [[a, k.__name__] for a in names for k in (KeyError, SystemExit, Exception, UserWarning, DeprecationWarning)
       if issubclass(getattr(e, a), k)]))
"""


@pytest.mark.promise("K07")
def test_what_the_real_modules_export_is_there(run: Run) -> None:
    real = json.loads(run("-c", f"MODULES = {[*WHOLE, *PARTS]}{EXPORTS}").stdout)
    code = "import importlib, json, sys\nreal = json.loads(sys.argv[1])\nprint(json.dumps({m: [n for n in names if not hasattr(importlib.import_module(m), n)] for m, names in real.items()}))"  # noqa: E501
    absent = json.loads(run("-c", ALIAS + code, json.dumps(real)).stdout)
    assert {m: names for m, names in absent.items() if m in WHOLE and names} == {}
    assert {m: set(names) - PARTS[m] for m, names in absent.items() if m in PARTS} == {m: set() for m in PARTS}
    assert all(len(real[m]) > 0 for m in ("celery.signals", "celery.exceptions", "celery.canvas"))


@pytest.mark.promise("K07")
def test_exceptions_are_of_the_same_family(run: Run) -> None:
    names = json.loads(run("-c", f"MODULES = ['celery.exceptions']{EXPORTS}").stdout)["celery.exceptions"]
    real = json.loads(run("-c", f"NAMES = {names}{FAMILY}").stdout)
    ours = json.loads(run("-c", f"{ALIAS}NAMES = {names}{FAMILY}").stdout)
    assert len(real) > 60
    # What catches an error there catches it here.
    assert [pair for pair in real if pair not in ours] == []


@pytest.mark.promise("K07")
def test_signals_give_the_same_keywords(run: Run) -> None:
    args = "{n: sorted(getattr(s, n).providing_args) for n in s.__all__}"
    code = f"import json, celery.signals as s\nprint(json.dumps({args}))"
    real = json.loads(run("-c", code).stdout)
    ours = json.loads(run("-c", ALIAS + code).stdout)
    assert {n: set(args) - set(ours[n]) for n, args in real.items() if set(args) - set(ours[n])} == {}
