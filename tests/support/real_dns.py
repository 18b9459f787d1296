"""A real DNS: Debian's NSD has the zone, and Unbound in front of it recurses. The zone is that of the whole world: nothing
that is asked ever leaves this machine."""

import select
import socket
import time
from contextlib import suppress
from typing import Self

from tests.support import debian
from tests.support.dns_server import Zone, is_there, question_octets
from tests.support.process import START_TIMEOUT, ServerProcess

NSD = """\
server:
  ip-address: 127.0.0.1@{port}
  username: ""
  zonesdir: "{folder}"
  database: ""
  pidfile: ""
  zonelistfile: "{folder}/zone.list"
  xfrdfile: ""
  xfrdir: "{folder}"
  server-count: 1
remote-control:
  control-enable: no
zone:
  name: "."
  zonefile: "root.zone"
"""

UNBOUND = """\
server:
  interface: 127.0.0.1
  port: {port}
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  do-not-query-localhost: no
  module-config: "iterator"
{more}
stub-zone:
  name: "."
  stub-addr: 127.0.0.1@{upstream}
"""

IMPATIENT = """\
  outbound-msg-retry: 1
  unknown-server-time-limit: 50"""


class _NameServer(ServerProcess):
    """A server that is known by a name which only its zone has."""

    @property
    def where(self) -> str:
        """The server as a configuration names it."""
        return f"127.0.0.1:{self.port}"

    def start(self, program: str, configuration: str, known_by: str, **values: object) -> None:
        """Runs the program of that name once more for each port that turns out to be taken."""

        def command(port: int) -> list[str]:
            path = f"{self.folder}/{program}.conf"
            with open(path, "w", encoding="utf-8") as file:
                file.write(configuration.format(port=port, folder=self.folder, **values))
            return [debian.program(program, f"usr/sbin/{program}"), "-d", "-c", path]

        self.run(command, known_by.encode(), debian.environment(program, self.folder))

    def _greets(self, greeting: bytes, implicit_tls: bool) -> bool:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            with socket.socket(type=socket.SOCK_DGRAM) as channel:
                channel.settimeout(1.0)
                channel.connect(("127.0.0.1", self.port))
                with suppress(OSError):
                    channel.send(question_octets(greeting.decode(), "A"))
                    if is_there(channel.recv(1500)):
                        return True
            # Not listening yet, or never, or busy.
            if select.select([self._alive], [], [], 0.02)[0]:
                return False
        return False


class Nsd(_NameServer):
    """NSD with a zone that holds all names. It does not recurse, and follows an alias as far as it knows."""

    def __init__(self, zone: Zone) -> None:
        super().__init__()
        # Not below `.test`, of which Unbound knows by itself that it is empty.
        self.known_by = f"nsd-{self.folder.rpartition('-')[2].replace('_', 'x')}.example"
        lines = [
            ". 300 IN SOA ns.example. admin.example. 1 3600 600 86400 60",
            ". 300 IN NS ns.example.",
            "ns.example. 300 IN A 127.0.0.1",
            f"{self.known_by}. 300 IN A 127.0.0.1",
        ]
        lines += [f"{name}. 300 IN {_absolute(record)}" for name, records in zone.items() for record in records]
        with open(f"{self.folder}/root.zone", "w", encoding="utf-8") as file:
            file.write("\n".join([*lines, ""]))
        self.start("nsd", NSD, self.known_by)


class RealDns:
    """Unbound, which asks an NSD with this zone. impatient: it does not ask long before it gives up; on a busy machine it may
    then give up on what is there."""

    def __init__(self, zone: Zone, *, impatient: bool = False) -> None:
        self.nsd = Nsd(zone)
        self._unbound = _NameServer()
        try:
            self._unbound.start(
                "unbound", UNBOUND, self.nsd.known_by, upstream=self.nsd.port, more=IMPATIENT if impatient else ""
            )
        except BaseException:
            self.nsd.stop()
            raise

    @property
    def where(self) -> str:
        """Unbound, as a configuration names it."""
        return self._unbound.where

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._unbound.stop()
        self.nsd.stop()


def _absolute(record: str) -> str:
    kind, _, value = record.partition(" ")
    return f"{record}." if kind in ("MX", "CNAME") and not value.endswith(".") else record
