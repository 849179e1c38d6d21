"""What ships: tools, configs and evals are found from a checkout and from an installed wheel alike; the tree's promises hold."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from agenttune.files import shipped

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("folder", "has"), [("tools", "calculator.py"), ("configs", "smollm2_135m_lora_desk.yaml"), ("evals", "desk/suite.yaml")]
)
def test_a_checkout_finds_its_folders(folder: str, has: str) -> None:
    assert (shipped(folder) / has).is_file()


def test_the_project_speaks_of_itself_alone() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    wrong = re.compile(r"/wor[k]/|/roo[t]/|/hom[e]/\w|pypi\.or[g]|files\.pythonhoste[d]|download\.pytorc[h]|--index-ur[l]")
    for name in files:
        path = ROOT / name
        if name and path.suffix in (".py", ".c", ".h", ".md", ".yaml", ".toml", ".txt", "") and path.is_file():
            found = wrong.search(path.read_text(encoding="utf-8", errors="replace"))
            assert not found, f"{name}: {found.group() if found else ''}"


def test_only_two_files_name_the_data_folder() -> None:
    files = subprocess.run(
        ["git", "ls-files", "*.py", "*.yaml", "Makefile"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    named = [name for name in files if re.search(r"shared[\"']? ?/ ?[\"']?data", (ROOT / name).read_text(encoding="utf-8"))]
    assert set(named) <= {"Makefile", "tests/conftest.py", "tests/test_shipped.py"}


def folders() -> list[str]:
    """Every folder that ships and holds files of ours, as a path from the root."""
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    tops = ("agenttune", "tools", "configs", "evals", "docs")
    return sorted({name.rpartition("/")[0] for name in files if name.partition("/")[0] in tops and "/" in name and (ROOT / name).exists()})


def test_the_architecture_page_has_one_line_a_folder() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `([\w./]+)/` \|", page, flags=re.MULTILINE)
    assert len(named) == len(set(named))
    assert set(named) == set(folders())


def test_no_public_class_name_stands_twice() -> None:
    places: dict[str, list[str]] = {}
    for path in sorted((ROOT / "agenttune").rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert len(places) > 100
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_data_folders_are_no_importable_names() -> None:
    """A wheel holds one top-level name, ``agenttune`` (the slow test below unpacks one), and no file of ours imports another."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["agenttune"]
    assert wheel["force-include"] == {name: f"agenttune/_shipped/{name}" for name in ("tools", "configs", "evals")}
    for name in ("tools", "configs", "evals"):
        assert not list((ROOT / name).rglob("__init__.py"))
    assert not imported_modules("agenttune", "tools", "tests") & {"tools", "configs", "evals"}


# What pip calls a package, where its module has another name; and packages that libraries of ours import, not we.
MODULES = {"pyyaml": "yaml", "flash-attn": "flash_attn", "pydantic-monty": "pydantic_monty", "prometheus-client": "prometheus_client"}
FOR_OTHERS = {
    "accelerate": "transformers.Trainer imports it",
    "sentencepiece": "transformers reads a tokenizer.model with it",
    "lxml-html-clean": "trafilatura imports it, and older pips do not see that it asks for it",
    "cachetools": "lagent imports it and does not declare it",
    "arxiv": "lagent's ArxivSearch calls what its version 4 took away",
}


def imported_modules(*tops: str) -> set[str]:
    found = set()
    for top in tops:
        for path in (ROOT / top).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    found |= {one.name.partition(".")[0] for one in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                    found.add(node.module.partition(".")[0])
    return found


def test_every_dependency_is_imported() -> None:
    """Runtime dependencies and extras by what ships, ``dev`` by the tests or the Makefile; a promise nobody keeps is none."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    shipped_ones = [*project["dependencies"], *(one for name, group in extras.items() if name != "dev" for one in group)]
    ours = imported_modules("agenttune", "tools")
    names = [re.split(r"[<>=!~\[ ]", one)[0] for one in shipped_ones]
    assert [name for name in names if MODULES.get(name, name) not in ours and name not in FOR_OTHERS] == []
    tested = imported_modules("tests") | {"mypy", "ruff", "agenttune"}
    dev = [re.split(r"[<>=!~\[ ]", one)[0] for one in extras["dev"]]
    assert [name for name in dev if name not in tested and not name.startswith("types-")] == []


def test_make_help_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)", text, flags=re.MULTILINE)
    told = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^make (\w+) +\S", told, flags=re.MULTILINE) == phony.split()


def test_the_sdist_takes_every_tracked_folder() -> None:
    include = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    tops = {name.partition("/")[0] for name in files}
    assert tops - {one.strip("/") for one in include} == {".ci", ".gitignore", "pyproject.toml"}  # hatch adds pyproject.toml itself


def test_every_public_function_has_a_docstring() -> None:
    missing = []
    for path in (ROOT / "agenttune").rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_") and not ast.get_docstring(node):
                missing.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert not missing


@pytest.mark.slow
def test_an_installed_wheel_finds_its_folders(tmp_path: Path) -> None:
    """Builds the wheel, unpacks it elsewhere, and lists its configs and tools from there."""
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path), str(ROOT)], check=True, timeout=300)
    (wheel,) = tmp_path.glob("agenttune-*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(site)
    assert {str(one.relative_to(ROOT)) for one in (ROOT / "agenttune").rglob("*.[ch]")} <= set(names)
    tops = {name.split("/")[0] for name in names}
    assert tops == {"agenttune", next(one for one in tops if one.endswith(".dist-info"))}
    code = (
        "import agenttune, sys; from agenttune.cli import main; assert agenttune.__file__.startswith(sys.argv[1]);"
        "assert main(['configs', 'list']) == 0; assert main(['tools', 'list']) == 0;"
        "sys.exit(main(['tools', 'call', 'calculator', '{\"expression\": \"6*7\"}']))"
    )
    environment = {**os.environ, "PYTHONPATH": str(site)}
    run = subprocess.run(
        [sys.executable, "-c", code, str(site)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    assert "smollm2_135m_lora_desk" in run.stdout
    assert "calculator" in run.stdout
    assert run.stdout.strip().endswith("42")
