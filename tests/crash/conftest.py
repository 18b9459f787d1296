"""The fixtures of the crash tests. A runner and its scene serve all tests of one process: each begins the scene afresh."""

import os
from collections.abc import Iterator

import pytest

from tests.crash.plots import NOTICES
from tests.crash.scene import Runner, Scene


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """Runs commands and kills them."""
    with Runner(os.fspath(tmp_path_factory.mktemp("runner"))) as started:
        yield started


@pytest.fixture(scope="session")
def _scene(tmp_path_factory: pytest.TempPathFactory, runner: Runner) -> Iterator[Scene]:
    with Scene(os.fspath(tmp_path_factory.mktemp("scene")), runner) as made:
        yield made


@pytest.fixture
def scene(_scene: Scene) -> Scene:
    """Mail of every fate in a spool that no pass has touched, and a server for it."""
    _scene.fresh()
    return _scene


@pytest.fixture(scope="session")
def _telling(tmp_path_factory: pytest.TempPathFactory, runner: Runner) -> Iterator[Scene]:
    with Scene(os.fspath(tmp_path_factory.mktemp("telling")), runner, NOTICES) as made:
        yield made


@pytest.fixture
def telling(_telling: Scene) -> Scene:
    """Mail that leads to notices of every kind in a spool that no pass has touched; there is a postmaster."""
    _telling.fresh()
    return _telling
