"""What the tests of routing share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.dns_server import DnsServer


@pytest.fixture
def dns() -> Iterator[Callable[..., DnsServer]]:
    """Makes DNS servers: `dns({"example.org": ["MX 10 mx.example.org"]}, on={"*": SERVFAIL})`; all are closed in the end."""
    with ExitStack() as servers:

        def start(*zone: Any, **settings: Any) -> DnsServer:
            return servers.enter_context(DnsServer(*zone, **settings))

        yield start
