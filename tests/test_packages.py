"""What is installed from the wheel is what a host needs: code, types, units, man pages and completions."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _files_below(folder: str) -> set[str]:
    top = os.path.join(ROOT, folder)
    return {
        os.path.relpath(os.path.join(place, file), top).replace(os.sep, "/")
        for place, _, files in os.walk(top)
        for file in files
    }


def test_the_wheel_carries_units_and_man_pages(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", os.fspath(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.iterdir()
    names = set(zipfile.ZipFile(wheel).namelist())
    units, pages, shells = _files_below("contrib/systemd"), _files_below("man"), _files_below("contrib/completion")
    assert any(unit.endswith(".timer") for unit in units)
    assert any(page.endswith(".8") for page in pages)
    assert {f"smartrelay/data/systemd/{unit}" for unit in units} <= names
    assert {f"smartrelay/data/man/{page}" for page in pages} <= names
    assert {f"smartrelay/data/completion/{shell}" for shell in shells} <= names and len(shells) == 3
    assert {"smartrelay/py.typed", "smartrelay/door.py", "smartrelay/__main__.py"} <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]
