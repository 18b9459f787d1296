"""Postfix's smtp-sink: the receiving server that has nothing to do with us, with PIPELINING and no opinion."""

import os
import pwd
import re
from dataclasses import dataclass

from tests.support import debian
from tests.support.process import NOBODY, ServerProcess


@dataclass(frozen=True)
class SunkMail:
    """One mail transaction as smtp-sink wrote it down."""

    mail_from: str  # the argument of MAIL FROM:, as `<me@example.org> SIZE=100`
    recipients: list[str]
    content: bytes  # un-stuffed, LF line ends: smtp-sink stores Unix lines


class SmtpSink(ServerProcess):
    """A running smtp-sink; `options` are more of its own, such as `-q DATA` or `-M 3`."""

    def __init__(self, *options: str) -> None:
        super().__init__()
        self._read: dict[str, SunkMail] = {}
        self.dump = f"{self.folder}/dump"
        os.mkdir(self.dump)
        os.chmod(self.folder, 0o711)
        user: list[str] = []
        if os.getuid() == 0:
            # It refuses to stay root, and opens its dump files after giving root up.
            os.chown(self.dump, NOBODY, -1)
            user = ["-u", pwd.getpwuid(NOBODY).pw_name]
        name = f"sink-{os.path.basename(self.folder)}.example.test"
        program = debian.program("postfix", "usr/sbin/smtp-sink")
        self.run(
            lambda port: [program, *user, "-h", name, "-d", f"{self.dump}/%s.", *options, f"127.0.0.1:{port}", "100"],
            greeting=name.encode(),
            environment=debian.environment("postfix", self.folder),
        )

    def messages(self) -> list[SunkMail]:
        """All mail that was acknowledged: each is in its file before its reply is sent.

        In the order in which they were first seen here, and what is new since the last call by the file system's clock,
        which ticks every few milliseconds: closer arrivals come in any order. Ask when no transaction is open: one that
        is half written down can't be told from a whole one.
        """
        for path in sorted((entry.path for entry in os.scandir(self.dump)), key=lambda path: os.stat(path).st_mtime_ns):
            if path not in self._read and (mail := _read(path)) is not None:
                self._read[path] = mail
        return list(self._read.values())


def _read(path: str) -> SunkMail | None:
    """The transaction in a dump file; None while there is no whole one."""
    with open(path, "rb") as file:
        text = file.read()
    # smtp-sink puts its own header fields first: X-Mail-Args, X-Rcpt-Args, and last a Received of three lines.
    match = re.search(rb"^Received: .*\n(?:[ \t].*\n)+", text, re.MULTILINE)
    if match is None:
        return None
    head = text[: match.start()].decode()
    return SunkMail(
        mail_from=re.findall(r"^X-Mail-Args: (.*)$", head, re.MULTILINE)[0],
        recipients=re.findall(r"^X-Rcpt-Args: (.*)$", head, re.MULTILINE),
        # It ends each dump, as a mailbox is, with an empty line of its own.
        content=text[match.end() :].removesuffix(b"\n"),
    )
