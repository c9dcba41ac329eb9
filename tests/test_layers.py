"""The house: rooms import downwards only, nothing but the command imports experiments, and the face
is quick and whole.
"""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import networkx as nx
import pytest

import causal_lib

PACKAGE = Path(causal_lib.__file__).parent
# A room imports only from rooms above it in this list; the modules of one line may not import each
# other.
ROOMS = [
    {"_former"},
    {
        "_generated",
        "_triton",
        "extras",
        "paths",
        "progress",
        "metric",
        "checks",
        "cards",
        "columns",
        "layout",
        "reasons",
    },
    {"drawing"},
    {"graph"},
    {"columns", "knowledge", "ordering", "resampling"},
    {"data"},
    {"worlds"},
    {"evaluation"},
    {"models"},
    {"features"},
    {"discovery"},
    {"inference"},
    {"policy"},
    {"explanation", "plots"},
    {"studies"},
    {"tooling"},
    {"experiments"},
    {"cli"},
]
FLOOR = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}


def modules(package=PACKAGE):
    """Name of each module -> its file."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(package=PACKAGE):
    """(module, module that it imports) of the package, also inside functions; a name of a room
    counts where it is defined.
    """
    known = modules(package)
    found = set()
    for name, path in known.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{name} imports relatively"
                full = [f"{node.module}.{alias.name}" for alias in node.names]
                targets = [one if one in known else node.module for one in full]
            else:
                continue
            found |= {(name, target) for target in targets if target in known and target != name}
    return found


def room(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def wrong_way(pairs):
    """Imports of a room that is not above the importing one."""
    return sorted(
        f"{module} imports {other}"
        for module, other in pairs
        if room(module)
        and room(other)
        and room(module) != room(other)
        and FLOOR[room(other)] >= FLOOR[room(module)]
    )


def circles(pairs):
    graph = nx.DiGraph(list(pairs))
    return [sorted(part) for part in nx.strongly_connected_components(graph) if len(part) > 1]


def test_every_room_has_its_place():
    assert {room(name) for name in modules()} - {""} <= set(FLOOR)


def test_rooms_import_only_from_rooms_above():
    assert wrong_way(imports()) == []


def test_no_circle():
    assert circles(imports()) == []


def test_nothing_but_the_command_imports_experiments():
    found = {
        module
        for module, other in imports()
        if room(other) == "experiments" and room(module) != "experiments"
    }
    assert found <= {"causal_lib.cli"}


@pytest.mark.parametrize(
    ("file", "line", "found"),
    [
        ("graph.py", "from causal_lib.inference import effect", wrong_way),
        ("discovery/stability.py", "from causal_lib.discovery.search import discover", circles),
        ("models/gnn.py", "import causal_lib.experiments.bench", wrong_way),
        ("policy/value.py", "def f():\n    from causal_lib.tooling import results", wrong_way),
    ],
)
def test_a_planted_import_is_found(file, line, found, tmp_path):
    copy = tmp_path / "causal_lib"
    for path in modules().values():
        target = copy / path.relative_to(PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    assert found(imports(copy)) == []
    with (copy / file).open("a", encoding="utf-8") as source:
        source.write(f"\n{line}\n")
    assert found(imports(copy)) != []


# ---- the face ------------------------------------------------------------------------------------

FACES = [
    name
    for name, path in modules().items()
    if path.with_suffix(".pyi").exists() and path.stem == "__init__"
]


@pytest.mark.parametrize("face", FACES)
def test_every_name_of_a_face_is_there_and_hides_no_module(face):
    package = importlib.import_module(face)
    assert sorted(package.__all__) == sorted(set(package.__all__))
    assert set(package.__all__) <= set(dir(package))
    for name in package.__all__:
        value = getattr(package, name)
        if f"{face}.{name}" in modules():
            assert value is sys.modules[f"{face}.{name}"], (
                f"{face}.{name} is a module and something else"
            )


@pytest.mark.parametrize("face", FACES)
def test_the_stub_lists_what_it_imports(face):
    stub = ast.parse(modules()[face].with_suffix(".pyi").read_text(encoding="utf-8"))
    imported = [
        alias.name for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    (listed,) = [node.value for node in stub.body if isinstance(node, ast.Assign)]
    assert sorted(imported) == sorted(ast.literal_eval(listed))


def test_the_face_loads_nothing_heavy():
    code = "import causal_lib, json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {
        "torch",
        "tensorflow",
        "econml",
        "causalml",
        "sklearn",
        "pandas",
        "numpy",
        "matplotlib",
        "numba",
    }


# ---- notebooks -----------------------------------------------------------------------------------

NOTEBOOKS = sorted((PACKAGE.parent / "notebooks").glob("*.ipynb"))
ABOUT_EXPERIMENTS = {"10", "16", "17"}
DEEPER = {"17"}  # it opens the pretrained learner


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem[:2])
def test_a_notebook_imports_from_the_face_or_one_step_below(path):
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        for node in ast.walk(ast.parse("".join(cell["source"]))):
            if not isinstance(node, ast.ImportFrom) or not node.module.startswith("causal_lib"):
                continue
            private = [alias.name for alias in node.names if alias.name.startswith("_")]
            assert not private, f"{path.name}: {private}"
            if room(node.module) == "experiments" and path.stem[:2] in ABOUT_EXPERIMENTS:
                continue
            assert room(node.module) != "experiments", f"{path.name}: {node.module}"
            deepest = 2 if path.stem[:2] in DEEPER else 1
            assert node.module.count(".") <= deepest, f"{path.name}: {node.module}"
