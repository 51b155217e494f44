"""Who may import whom (docs: the floors). Imports go down; the doors are at the top, the words at the bottom."""

from __future__ import annotations

import pytest

from tests.architecture.tree import Import, imports, modules, package

FLOORS = {
    "cli": 6, "web": 6, "testing": 6, "compat": 6, "django": 6, "flask": 6, "starlette": 6, "fastapi": 6, "__main__": 6,
    "worker": 5, "beat": 5, "control": 5,
    "app": 4,
    "execution": 3, "canvas": 3, "events": 3,
    "stores": 2,
    "settings": 1, "wire": 1, "schedules": 1,
    "util": 0, "errors": 0, "states": 0, "types": 0, "signals": 0,
}  # fmt: skip
#: ``talo/__init__.py`` only exports: it stands above the app, below the doors.
ROOT_FLOOR = 5.5
#: Doors, rules and words know their own floor; a worker uses beat and control, control the jobs of beat.
SIDEWAYS = {0, 1, 3, 6}
ALLOWED_PAIRS = {("worker", "beat"), ("worker", "control"), ("control", "beat")}


def floor(room: str) -> float:
    return ROOT_FLOOR if room == "talo" else FLOORS[room]


def ours() -> list[Import]:
    return [found for found in imports() if found.target == "talo" or found.target.startswith("talo.")]


def may_import(importer: str, target: str) -> bool:
    above, below = package(importer), package(target)
    if above == below or (above, below) in ALLOWED_PAIRS:
        return True
    return floor(below) < floor(above) or (floor(below) == floor(above) and floor(above) in SIDEWAYS)


def test_every_room_has_a_floor() -> None:
    rooms = {package(name) for name in modules()} - {"talo"}
    assert rooms <= FLOORS.keys(), f"not in the map of floors: {sorted(rooms - FLOORS.keys())}"


def test_imports_go_down_only() -> None:
    assert [str(found) for found in ours() if not may_import(found.importer, found.target)] == []


@pytest.mark.parametrize("room", ["execution", "canvas", "events"])
def test_rules_do_not_know_the_app(room: str) -> None:
    assert [str(found) for found in ours() if package(found.importer) == room and package(found.target) == "app"] == []


def test_no_store_imports_another() -> None:
    def technology(name: str) -> str | None:
        parts = name.split(".")
        inside = len(parts) > 2 and parts[1] == "stores" and ".".join(parts[:3]) in modules()
        return parts[2] if inside and modules()[".".join(parts[:3])].is_package else None

    crossings = [
        str(found)
        for found in ours()
        if (mine := technology(found.importer)) and (other := technology(found.target)) and mine != other
    ]
    assert crossings == []


def test_no_module_imports_itself_in_a_circle() -> None:
    # Given what each module imports at run time; names for type checkers only may be exchanged within a room
    graph: dict[str, set[str]] = {name: set() for name in modules()}
    for found in ours():
        if (
            not (found.typing_only and package(found.importer) == package(found.target))
            and found.target != found.importer
        ):
            graph[found.importer].add(found.target)
    # When whoever imports nothing that is left is taken away, again and again
    while free := [name for name, targets in graph.items() if not targets & graph.keys()]:
        for name in free:
            del graph[name]
    # Then nobody is left
    assert {name: sorted(targets & graph.keys()) for name, targets in graph.items()} == {}


def test_the_predecessor_is_not_used() -> None:
    foreign = {"celery", "kombu", "billiard", "vine", "flower"}
    assert [str(found) for found in imports() if found.target.split(".")[0] in foreign] == []
