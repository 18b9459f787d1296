"""Postfix's smtpd as a smart host: it keeps what it got in its hold queue, where tests can read it as soon as it was taken.

Only its master, smtpd, cleanup and what those two ask run; nothing is delivered. It wants root, as Postfix always does.
"""

import os
import re
import subprocess

from tests.support import debian
from tests.support.mail import KeptMail
from tests.support.process import ServerProcess

OWNER, POSTDROP = 64_901, 64_902
"""User and group ids that nobody has: Postfix refuses to share its own."""

DIRECTORIES = (
    *("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "maildrop"),
    *("pid", "private", "public", "saved", "trace"),
)

MAIN = """\
compatibility_level = 3.6
myhostname = {name}
mydomain = example.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mail_owner = postfix
setgid_group = postdrop
queue_directory = {folder}/queue
data_directory = {folder}/data
daemon_directory = {top}/usr/lib/postfix/sbin
command_directory = {top}/usr/sbin
shlib_directory = {top}/usr/lib/postfix
meta_directory = {folder}/conf
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
import_environment = MAIL_CONFIG TZ LC_ALL LD_LIBRARY_PATH LD_PRELOAD NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
smtpd_peername_lookup = no
smtpd_client_connection_rate_limit = 0
smtpd_client_connection_count_limit = 0
smtpd_tls_security_level = none
smtputf8_enable = yes
smtpd_recipient_restrictions = check_recipient_access regexp:{folder}/conf/refused,
    check_sender_access regexp:{folder}/conf/refused, check_client_access static:HOLD, permit_mynetworks, reject
alias_maps =
alias_database =
smtpd_relay_restrictions = permit
{more}
"""

MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
rewrite unix - - n - - trivial-rewrite
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
"""

REFUSED = """\
/^bad/ 550 5.1.1 no such user
/^late/ 450 4.2.1 not now
"""


class PostfixServer(ServerProcess):
    """A running smtpd. It refuses the senders and recipients whose names begin with `bad` for good, with `late` for now;
    more: lines of its own for main.cf."""

    def __init__(self, *more: str) -> None:
        super().__init__()
        os.chmod(self.folder, 0o711)
        top = debian.root("postfix")
        for name in ("queue", "data", "conf"):
            os.mkdir(f"{self.folder}/{name}", 0o755)
        for name in DIRECTORIES:
            os.mkdir(f"{self.folder}/queue/{name}", 0o700)
        for name in ("data", *(f"queue/{name}" for name in DIRECTORIES if name != "pid")):
            os.chown(f"{self.folder}/{name}", OWNER, POSTDROP if name.endswith(("maildrop", "public")) else OWNER)
        name = f"postfix-{os.path.basename(self.folder).rpartition('-')[2].replace('_', 'x')}.example.test"
        users = {"postfix": (OWNER, OWNER), "postdrop": (POSTDROP, POSTDROP)}
        self._environment = debian.environment("postfix", self.folder, users=users)
        self._write("conf/main.cf", MAIN.format(name=name, folder=self.folder, top=top, more="\n".join(more)))
        self._write("conf/refused", REFUSED)
        self._write("conf/master.cf", "")

        def command(port: int) -> list[str]:
            self._write("conf/master.cf", MASTER.format(port=port))
            # The shell stays: master closes the descriptor by which its life is watched.
            master = [debian.program("postfix", "usr/lib/postfix/sbin/master"), "-d", "-c", f"{self.folder}/conf"]
            return ["/bin/sh", "-c", '"$@"; exit', "sh", *master]

        self.run(command, greeting=name.encode(), environment=self._environment)

    def _write(self, path: str, text: str) -> None:
        with open(f"{self.folder}/{path}", "w", encoding="utf-8") as file:
            file.write(text)

    def messages(self) -> list[KeptMail]:
        """All mail that was taken, in no order: each is in its file before its reply is sent."""
        return [self._message(name) for name in sorted(os.listdir(f"{self.folder}/queue/hold"))]

    def _message(self, name: str) -> KeptMail:
        postcat = [debian.program("postfix", "usr/sbin/postcat"), "-c", f"{self.folder}/conf"]

        def said(*options: str) -> bytes:
            command = [*postcat, *options, f"{self.folder}/queue/hold/{name}"]
            return subprocess.run(command, env=self._environment, check=True, capture_output=True, timeout=60).stdout

        envelope = said("-e").decode()
        return KeptMail(
            re.findall(r"^sender: (.*)$", envelope, re.MULTILINE)[0],
            re.findall(r"^recipient: (.*)$", envelope, re.MULTILINE),
            said("-b", "-h"),
        )

    def log(self) -> str:
        """Postfix's mail log: connections, arrivals and refusals."""
        path = f"{self.folder}/log"
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
