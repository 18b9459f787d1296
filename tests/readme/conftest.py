"""What the tests of the README share: the program installed as the README says, once, and hosts that have it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.readme import wheels
from tests.readme.host import ADDRESSES, CHECKOUT, OPT, PATH, PYTHON, Host
from tests.readme.page import INSTALL, Page, lines_of, read
from tests.support.certificates import Certificates, make_certificates

_WHEELS = "/mnt/wheels"


@pytest.fixture(scope="session")
def page() -> Page:
    """README.md."""
    return read()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for the README's names."""
    return make_certificates(os.fspath(tmp_path_factory.mktemp("certificates")), tuple(ADDRESSES))


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> str:
    """/opt/smartrelay, as the README's lines make it in the checkout; without a network, so pip finds what it asks for in a
    folder. All workers share it."""
    assert os.geteuid() == 0, "the README is tried on hosts that are mounted: run the suite as root"
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    made, unfinished = f"{shared}/opt-smartrelay", f"{shared}/opt-smartrelay.new"
    with FileLock(f"{made}.lock"):
        if not os.path.isdir(made):
            os.makedirs(f"{unfinished}/wheels")
            os.mkdir(f"{unfinished}/opt")
            wheels.pack(f"{unfinished}/wheels")
            env = {"PATH": f"{PYTHON}:{PATH}", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": _WHEELS, "PIP_CONFIG_FILE": os.devnull}
            binds = {OPT: f"{unfinished}/opt", _WHEELS: f"{unfinished}/wheels"}
            with Host(f"{unfinished}/host", certificates, binds) as host:
                for line in INSTALL:
                    host.type(line, env=env, folder=CHECKOUT)
            os.rename(unfinished, made)
    return f"{made}/opt"


@pytest.fixture
def bare(request: pytest.FixtureRequest, tmp_path: Path, installed: str, certificates: Certificates) -> Iterator[Host]:
    """A host with the program in /opt, and nothing set up. At the end the test has typed all that it says."""
    with Host(os.fspath(tmp_path), certificates, {OPT: installed}) as host:
        host.typed += INSTALL
        yield host
        untyped = set(lines_of(request.function)) - set(host.typed)
        assert not untyped, f"the test says that it runs {untyped}"


@pytest.fixture
def host(bare: Host) -> Host:
    """A host on which `smartrelay setup` has been run."""
    assert bare.run(f"{OPT}/bin/smartrelay", "setup", "--yes").code == 0
    return bare
