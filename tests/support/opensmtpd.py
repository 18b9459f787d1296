"""OpenSMTPD as a smart host: it relays only for those who signed in over TLS, and keeps what it got in its queue, where tests
can read it as soon as it was taken.

It speaks neither PIPELINING nor CHUNKING, and takes 100 messages in a session. Its paths are compiled in, so it has a root of
its own, and that wants root, as OpenSMTPD itself does.
"""

import os
import re
import shutil
import subprocess
from contextlib import suppress
from signal import SIGKILL

from tests.support.certificates import Certificate
from tests.support.mail import KeptMail
from tests.support.private_root import PrivateRoot
from tests.support.process import ServerProcess

_PATH = {"PATH": "/usr/sbin:/usr/bin"}

# What it takes is for a host that is never there, and so stays in the queue.
CONFIGURATION = """\
pki server cert "/etc/server.crt"
pki server key "/etc/server.key"
table users file:/etc/users
table bad {{ "^bad" }}
table late {{ "^late" }}
filter bad-sender phase mail-from match mail-from regex <bad> reject "550 5.1.0 sender refused"
filter late-sender phase mail-from match mail-from regex <late> reject "450 4.1.0 not now"
filter bad phase rcpt-to match rcpt-to regex <bad> reject "550 5.1.1 no such user"
filter late phase rcpt-to match rcpt-to regex <late> reject "450 4.2.1 not now"
filter all chain {{ bad-sender, late-sender, bad, late }}
listen on 127.0.0.1 port {port} hostname {name} tls pki server auth <users> filter all
action "keep" relay host smtp://127.0.0.1:1
match auth from any for any action "keep"
"""


class OpensmtpdServer(ServerProcess):
    """A running smtpd that shows `certificate` and knows one user. It refuses the senders and recipients whose names begin
    with `bad` for good, with `late` for now."""

    def __init__(self, certificate: Certificate, user: str = "me", password: str = "secret: \\ $1 \"é'") -> None:
        assert os.geteuid() == 0, "OpenSMTPD needs root, to mount a root of its own: run the suite as root"
        super().__init__()
        self.user, self.password = user, password
        os.chmod(self.folder, 0o711)
        self._root = root = PrivateRoot(f"{self.folder}/root", "opensmtpd-7", ("opensmtpd", "opensmtpq"))
        os.makedirs(f"{root.folder}/var/spool", exist_ok=True)
        root.write("etc/ssl/certs/ca-certificates.crt", "")  # it does not start without one
        shutil.copy(certificate.cert_file, f"{root.folder}/etc/server.crt")
        shutil.copy(certificate.key_file, f"{root.folder}/etc/server.key")
        os.chmod(f"{root.folder}/etc/server.key", 0o600)
        encrypt = root.command("/usr/libexec/opensmtpd/encrypt")
        secret = subprocess.run(encrypt, input=f"{password}\n".encode(), env=_PATH, check=True, capture_output=True)
        root.write("etc/users", f"{user} {secret.stdout.decode().strip()}\n")
        name = f"opensmtpd-{os.path.basename(self.folder).rpartition('-')[2].replace('_', 'x')}.example.test"

        def command(port: int) -> list[str]:
            root.write("etc/smtpd.conf", CONFIGURATION.format(name=name, port=port))
            return root.command("/usr/sbin/smtpd", "-d", own_processes=True)

        self.run(command, greeting=name.encode(), environment=_PATH)

    def _kill(self) -> None:
        """Its processes have closed the descriptor by which their life is watched. They have a namespace, which ends with its
        first one, and only when all are gone does `unshare`, which started that."""
        assert self.process is not None
        pid = self.process.pid
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            first = file.read().split()
        with suppress(ProcessLookupError):
            if first:
                os.kill(int(first[0]), SIGKILL)
            else:
                super()._kill()

    def messages(self) -> list[KeptMail]:
        """All mail that was taken, in no order: each is in its file before its reply is sent."""
        found = []
        for folder, _, names in sorted(os.walk(f"{self._root.folder}/var/spool/smtpd/queue")):
            if "message" in names:
                envelopes = [_read(f"{folder}/{name}").decode() for name in sorted(names) if name != "message"]
                senders = {re.findall(r"^sender: (.*)$", envelope, re.MULTILINE)[0] for envelope in envelopes}
                recipients = [re.findall(r"^rcpt: (.*)$", envelope, re.MULTILINE)[0] for envelope in envelopes]
                (sender,) = senders
                found.append(KeptMail(sender, recipients, _read(f"{folder}/message")))
        return found

    def log(self) -> str:
        """What it says of connections, sign-ins, arrivals and refusals."""
        return _read(f"{self.folder}/output").decode(errors="replace")


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
