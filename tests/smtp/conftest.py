"""The servers that only the tests of the client want."""

from collections.abc import Iterator

import pytest

from tests.support.postfix import PostfixServer


@pytest.fixture
def postfix() -> Iterator[PostfixServer]:
    """Postfix's smtpd, running, with CHUNKING."""
    with PostfixServer() as server:
        yield server
