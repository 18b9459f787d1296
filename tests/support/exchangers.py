"""Mail exchangers on loopback, each at an address of its own and all at one port, and the DNS that knows them.

with Exchangers() as exchangers:
    a = exchangers.start("a.example", 2)                  # a scripted server at 127.0.0.2
    exchangers.zone["b.example"] = ["A 127.0.0.3"]        # nobody listens there
    exchangers.mx("d.example", "a.example", "b.example")  # preferences 10 and 20
    machine.configure(relay("mx"), exchangers.table)
"""

import socket
from contextlib import ExitStack
from typing import Any, Self

from smartrelay.config import MX
from tests.support.dns_server import DnsServer
from tests.support.smtp_server import ScriptedServer


class Exchangers:
    """`servers` are the servers; `dns` is theirs, and says what is in `zone`."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.servers: list[ScriptedServer] = []
        self.dns = self._stack.enter_context(DnsServer())
        self.zone: dict[str, Any] = self.dns.zone
        # One address at which nobody listens holds the number of the port for all the others.
        holder = self._stack.enter_context(socket.socket())
        holder.bind(("127.0.0.254", 0))
        self.port: int = holder.getsockname()[1]

    def start(self, name: str, number: int, **settings: Any) -> ScriptedServer:
        """A server at 127.0.0.NUMBER, which is an address of the host `name`, one more if it has any."""
        self.zone[name] = [*self.zone.get(name, ()), f"A 127.0.0.{number}"]
        server = self._stack.enter_context(ScriptedServer(address=f"127.0.0.{number}", port=self.port, **settings))
        self.servers.append(server)
        return server

    def mx(self, domain: str, *names: str, step: int = 10) -> None:
        """These are the exchangers of a domain, from the best to the worst, `step` apart."""
        self.zone[domain] = [f"MX {10 + step * number} {name}" for number, name in enumerate(names)]

    @property
    def table(self) -> str:
        """The table of a configuration that sends mail to them."""
        return f'[mx]\nport = {self.port}\nnameservers = ["{self.dns.where}"]\n'

    @property
    def settings(self) -> MX:
        """The same, understood."""
        return MX(port=self.port, nameservers=(self.dns.where,))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
