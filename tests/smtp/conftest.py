"""The servers that only the tests of the client want."""

from collections.abc import Iterator

import pytest

from tests.support.certificates import Certificates
from tests.support.opensmtpd import OpensmtpdServer
from tests.support.postfix import PostfixServer


@pytest.fixture
def postfix() -> Iterator[PostfixServer]:
    """Postfix's smtpd, running, with CHUNKING."""
    with PostfixServer() as server:
        yield server


@pytest.fixture
def opensmtpd(certificates: Certificates) -> Iterator[OpensmtpdServer]:
    """An OpenSMTPD, running, that wants TLS and its user's password."""
    with OpensmtpdServer(certificates.server) as server:
        yield server
