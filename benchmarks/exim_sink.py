"""Exim as a server that takes everything without TLS or sign-in, as many messages over a connection as come."""

import os

from benchmarks.private_root import PrivateRoot
from tests.support.process import ServerProcess

_USER = "Debian-exim"
_CONFIGURATION = """\
primary_hostname = {name}
exim_user = Debian-exim
exim_group = Debian-exim
spool_directory = /var/spool/exim4
log_file_path = /var/log/exim4/%slog
pid_file_path =
host_lookup =
rfc1413_hosts =
tls_advertise_hosts =
queue_only
smtp_accept_max_per_connection = 0
acl_smtp_rcpt = accept
acl_smtp_data = accept
"""


class EximSink(ServerProcess):
    """A running one; what it takes stays in its queue."""

    greeting = "exim-sink.example.test"

    def __init__(self) -> None:
        super().__init__()
        os.chmod(self.folder, 0o711)
        root = PrivateRoot(f"{self.folder}/root", "exim", (_USER,))
        root.write("etc/exim4/exim4.conf", _CONFIGURATION.format(name=self.greeting))
        for path in ("var/spool/exim4", "var/log/exim4"):
            os.makedirs(f"{root.folder}/{path}", exist_ok=True)
            os.chown(f"{root.folder}/{path}", root.ids[_USER], root.ids[_USER])
        self.run(
            lambda port: root.command("/usr/sbin/exim4", "-bdf", "-oX", f"[127.0.0.1]:{port}"),
            greeting=self.greeting.encode(),
            environment={"PATH": "/usr/sbin:/usr/bin"},
        )
