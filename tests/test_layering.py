"""Modules import only from earlier layers, and no public function shadows a submodule."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path

import facededup

LAYERS = (
    "errors",
    "environment",
    "types",
    "settings",
    "metrics",
    "progress",
    "devices",
    "gpu_usage",
    "images",
    "models",
    "faces",
    "store",
    "results",
    "counting",
    "copies",
    "contents",
    "current",
    "csv_rows",
    "manifest",
    "groups",
    "dating",
    "matching",
    "decisions",
    "workers",
    "recipe",
    "calibration",
    "cohort",
    "executor",
    "interrupt",
    "identity",
    "listing",
    "analytics",
    "newness",
    "tagging",
    "indexing",
    "clustering",
    "confirmation",
    "findings",
    "finding",
    "against",
    "distributed",
    "exchange",
    "legacy",
    "lookup",
    "pictures",
    "probe",
    "diagnosis",
    "copying",
    "maintenance",
    "evaluation",
    "report",
    "deciding",
    "file_actions",
    "applying",
    "api",
    "cli",
)
ROOT = Path(facededup.__file__).parent


def layer_of(module: str) -> int:
    return LAYERS.index(module.split(".")[1])


def modules() -> list[str]:
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = ("facededup", *path.relative_to(ROOT).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name not in ("facededup", "facededup.__main__"):
            found.append(name)
    return found


def imports(module: str) -> set[str]:
    path = ROOT.joinpath(*module.split(".")[1:])
    source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{module} has a relative import"
    return {name for name in found if name.startswith("facededup.") and name in modules()}


def test_every_module_has_a_layer():
    for module in modules():
        assert module.split(".")[1] in LAYERS, f"give {module} a place in LAYERS"


def test_imports_point_to_earlier_layers():
    for module in modules():
        for imported in imports(module):
            assert layer_of(imported) <= layer_of(module), f"{module} imports {imported} from a later layer"


def test_every_module_says_what_it_is():
    for module in modules():
        path = ROOT.joinpath(*module.split(".")[1:])
        source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
        assert ast.get_docstring(ast.parse(source)), f"{module} has no docstring"


def test_whoever_opens_a_store_passes_the_key_on():
    for module in modules():
        path = ROOT.joinpath(*module.split(".")[1:])
        source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "open_store":
                given = len(node.args) + len([word for word in node.keywords if word.arg == "key_file"])
                assert given == 2, f"{module}, line {node.lineno}: open_store needs settings.key_file, too"


def test_no_public_function_is_named_like_a_submodule():
    submodules = {
        name.rpartition(".")[2] for _, name, _ in pkgutil.iter_modules(facededup.__path__, "facededup.")
    }
    assert not submodules & set(facededup.__all__)


def test_public_names_are_there_after_every_submodule_was_imported():
    for module in modules():
        importlib.import_module(module)
    for name in facededup.__all__:
        assert getattr(facededup, name).__doc__, f"facededup.{name} has no docstring"
    assert callable(facededup.index)
    assert callable(facededup.find)
    assert callable(facededup.search)
