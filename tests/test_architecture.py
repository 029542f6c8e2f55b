"""The walls of the house: layers, budgets, and what may be spelled where."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "jaxvid"
FILES = sorted(PACKAGE.rglob("*.py"))

# A room may import rooms of a lower floor, and itself.
FLOORS = {
    "typing": 0,
    "_version": 0,
    "rules": 1,
    "bounds": 2,
    "document": 2,
    "script": 3,
    "config": 3,
    "shapes": 4,
    "camera": 4,
    "lint": 5,
    "outline": 4,
    "grammar": 5,
    "staging": 5,
    "ops": 6,
    "losses": 7,
    "models": 7,
    "rl": 7,
    "state": 8,
    "optim": 8,
    "cluster": 8,
    "memory": 8,
    "parallel": 9,
    "health": 9,
    "data": 9,
    "io": 9,
    "video": 9,
    "metrics": 9,
    "steps": 10,
    "accounting": 10,
    "assets": 10,
    "animatic": 11,
    "loop": 11,
    "presets": 11,
    "training": 12,
    "training_planner": 13,
    "reinforce_planner": 14,
    "screenwriter": 15,
    "gate": 15,
    "reinforce": 16,
    "clip": 10,
    "observe": 10,
    "pipeline": 17,
    "judge": 14,
    "fresh": 14,
    "sizes": 14,
    "film": 9,
    "examine": 18,
    "evaluate": 19,
    "evaluate_planner": 18,
    "terminal": 19,
    "cli": 20,
    "__init__": 21,
}
COMPILERS = {"jit", "pmap", "make_mesh", "pmean", "shard_map"}
# Flax outside of models/: the state's dataclasses.
FLAX = {"models", "state"}
LAZY = {"grain", "av", "imageio", "tensorflow_datasets", "array_record", "PIL"}
LAZY |= {"tensorboardX", "safetensors"}


def room(path: pathlib.Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> list[tuple[str, ast.stmt]]:
    found: list[tuple[str, ast.stmt]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            found += [(module, node)]
            if module == "jaxvid":
                found += [(f"jaxvid.{alias.name}", node) for alias in node.names]
    return found


def parse(path: pathlib.Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downwards(path: pathlib.Path) -> None:
    here = room(path)
    assert here in FLOORS, f"{here} has no floor in the house"
    for name, node in imports(parse(path)):
        parts = name.split(".")
        if parts[0] != "jaxvid" or len(parts) < 2 or parts[1] == here:
            continue
        assert FLOORS[parts[1]] < FLOORS[here], f"{path.name}:{node.lineno} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_foreign_packages_stay_in_their_rooms(path: pathlib.Path) -> None:
    tree = parse(path)
    for name, node in imports(tree):
        top = name.split(".")[0]
        assert top != "tensorflow" and top != "pickle", f"{path.name}:{node.lineno} imports {top}"
        if top == "flax":
            assert room(path) in FLAX, f"{path.name}:{node.lineno} imports flax"
        if top == "tensorflow_datasets":
            assert room(path) == "data", f"{path.name}:{node.lineno} imports {top}"
    top_level = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    for name, _ in imports(ast.Module(list(top_level), [])):
        assert name.split(".")[0] not in LAZY, f"{path.name} imports {name} at the top"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_devices_are_spelled_in_parallel_only(path: pathlib.Path) -> None:
    if room(path) == "parallel":
        return
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            owner = ast.unparse(node.value)
            if owner in ("jax", "jax.lax"):
                assert node.attr not in COMPILERS, f"{path.name}:{node.lineno} {owner}.{node.attr}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_budgets(path: pathlib.Path) -> None:
    assert len(path.relative_to(PACKAGE).parts) <= 2
    assert path.name != "utils.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    limit = 90 if room(path) == "steps" else 60
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= limit, f"{path.name}: {node.name} has {length} lines"


def test_package_budget() -> None:
    # What people say in a language is a list that grows with every wording: counted apart.
    words = [path for path in FILES if path.name.startswith(("english", "chinese"))]
    code = [path for path in FILES if path not in words]
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in code) <= 23_100
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in words) <= 4_000


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_public_functions_are_explained(path: pathlib.Path) -> None:
    tree = parse(path)
    if path.name != "__init__.py":
        assert ast.get_docstring(tree), f"{path} has no docstring"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path.name}: {node.name} has no docstring"
            named = [*node.args.args, *node.args.kwonlyargs]
            assert all(a.annotation for a in named), f"{path.name}: {node.name} is not annotated"


def test_import_starts_no_backend_and_no_tensorflow() -> None:
    program = (
        "import sys, jaxvid, jaxvid.training, jaxvid.pipeline, jax\n"
        "from jax._src import xla_bridge\n"
        "assert not xla_bridge.backends_are_initialized()\n"
        "heavy = ['tensorflow', 'tensorflow_datasets', 'av', 'imageio']\n"
        "assert not [name for name in heavy if name in sys.modules], sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
