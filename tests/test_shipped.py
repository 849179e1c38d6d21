"""What ships: tools, configs and evals are found from a checkout and from an installed wheel alike; the tree's promises hold."""

from __future__ import annotations

import os
import re
import subprocess
import sys
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


def test_the_readme_names_every_file() -> None:
    tree = (ROOT / "README.md").read_text(encoding="utf-8").split("## The tree")[1]
    files = [
        *(ROOT / "agenttune").rglob("*.py"),
        *(ROOT / "agenttune").rglob("*.[ch]"),
        *(ROOT / "tools").glob("*.py"),
        *(ROOT / "configs").glob("*.yaml"),
    ]
    missing = [str(path.relative_to(ROOT)) for path in files if path.name != "__init__.py" and f"  {path.name} " not in tree]
    assert not missing


def test_every_public_function_has_a_docstring() -> None:
    import ast

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
