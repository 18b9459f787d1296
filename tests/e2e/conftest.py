"""The fixtures of the end-to-end tests."""

from pathlib import Path

import pytest

from tests.e2e.commands import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A private machine with the installed commands: an empty spool, no relay configured."""
    return Machine(tmp_path)
