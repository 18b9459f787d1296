"""The system that the tests of sendmail's callers share."""

import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest

from tests.callers.system import System


@pytest.fixture
def system() -> Iterator[System]:
    """A Debian system with smartrelay in sendmail's place. Other users must reach it, so it is not in pytest's folder."""
    assert os.geteuid() == 0, "the tests of real callers need root, to mount a system of their own: run the suite as root"
    folder = tempfile.mkdtemp(prefix="smartrelay-callers-")
    try:
        os.chmod(folder, 0o755)
        system = System(folder)
        with system.serving():
            yield system
    finally:
        shutil.rmtree(folder)


@pytest.fixture(params=["root", "joe"])
def user(request: pytest.FixtureRequest) -> str:
    """Who calls: root, who may write to the spool, and joe, who may not."""
    return str(request.param)
