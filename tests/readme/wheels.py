"""Wheels for pip where there is no network: the distributions of the test's own environment, packed again."""

import os
import re
import zipfile
from importlib.metadata import Distribution, distribution

# What `pip install .` asks for: to build (pyproject.toml's build-system) and to run (its dependencies).
ROOTS = ("hatchling", "click", "dnspython", "filelock", "idna", "rich")


def pack(folder: str) -> None:
    """Writes a wheel of each distribution that an installation of smartrelay needs into `folder`."""
    waiting, packed = list(ROOTS), set[str]()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in packed:
            continue
        packed.add(name)
        found = distribution(name)
        _write(found, folder)
        # what is asked for by an extra, or for another Python or system, has a marker behind a semicolon
        waiting += (re.split(r"[^\w.-]", each)[0] for each in found.requires or () if ";" not in each)


def _write(found: Distribution, folder: str) -> None:
    tags = re.findall(r"^Tag: (.*)$", found.read_text("WHEEL") or "", re.MULTILINE)
    name = re.sub(r"[-_.]+", "_", found.metadata["Name"])
    with zipfile.ZipFile(os.path.join(folder, f"{name}-{found.version}-{tags[0]}.whl"), "w") as wheel:
        for file in found.files or ():
            # scripts lie outside, and pip makes its own of them; byte code is of no use elsewhere
            if (
                ".." not in file.parts
                and file.suffix != ".pyc"
                and file.name not in ("INSTALLER", "REQUESTED", "direct_url.json")
            ):
                wheel.write(os.fspath(file.locate()), str(file))
