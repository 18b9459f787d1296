"""The scene of the crash tests: a spool with mail of every fate, a server with a verdict for each recipient, and the laws.

What must hold after any crash or fault, once passes could work again, is in `Scene.check`.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from email import message_from_bytes
from typing import Any, Self

from tests.crash.plots import FATES, Plot, Told
from tests.support.smtp_server import Answer, ScriptedServer, Session, Transaction

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WORDS = ("MAIL", "RCPT", "DATA", "DOT")
"""Where in a dialogue a pass is killed by the server: a transaction's commands, and its final dot."""


class Runner:
    """Has commands run, killed and hindered by `tests.crash.child`."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.trace = os.path.join(folder, "trace")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SMARTRELAY_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.child"],
            cwd=ROOT,
            env={**environment, "TMPDIR": folder},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def run(
        self, argv: list[str], spool: str, stdin: bytes = b"", kill_at: int = 0, fault: dict[str, Any] | None = None
    ) -> "Outcome":
        """One command, to its end."""
        files = {name: os.path.join(self._folder, name) for name in ("stdin", "stdout", "stderr", "trace")}
        for path in files.values():
            with open(path, "wb") as file:
                file.write(stdin if path.endswith("stdin") else b"")
        order = {"argv": argv, "spool": spool, "kill_at": kill_at, "fault": fault, **files}
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        read = {}
        for name in ("stdout", "stderr", "trace"):
            with open(files[name], encoding="utf-8", errors="replace") as text:
                read[name] = text.read()
        return Outcome(answer["code"], read["stdout"], read["stderr"], read["trace"].splitlines())

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class Outcome:
    """How a command ended. steps: what it did in the spool, up to where it was killed."""

    code: int
    stdout: str
    stderr: str
    steps: list[str]

    @property
    def killed(self) -> bool:
        """Whether the kill came."""
        return self.code == -signal.SIGKILL

    @property
    def hindered(self) -> bool:
        """Whether the fault came."""
        return any(step.startswith("fault") for step in self.steps)


def contents(spool: str) -> dict[str, list[str]]:
    """The names in each of the spool's directories that has any."""
    found = {name: sorted(os.listdir(f"{spool}/{name}")) for name in os.listdir(spool) if os.path.isdir(f"{spool}/{name}")}
    return {name: names for name, names in found.items() if names}


def text_of(subject: str) -> bytes:
    """A message of the scene."""
    return f"Subject: {subject}\nTo: somebody@a.example\n\nThis is {subject}.\n".encode()


@dataclass
class Arrivals:
    """What the server took: messages by (subject, recipient), and notices by Message-ID."""

    messages: Counter[tuple[str, str]] = field(default_factory=Counter)
    transactions: Counter[tuple[str, tuple[str, ...]]] = field(default_factory=Counter)
    notices: Counter[str] = field(default_factory=Counter)
    reported: dict[str, set[Told]] = field(default_factory=dict)


class Scene:
    """Spool, configuration and server of a test; `fresh` begins again."""

    def __init__(self, folder: str, runner: Runner, plot: Plot = FATES) -> None:
        self.folder, self.runner, self.plot = folder, runner, plot
        self.spool = os.path.join(folder, "spool")
        self.config = os.path.join(folder, "smartrelay.toml")
        self._saved = os.path.join(folder, "saved")
        self._recovered = False
        self._seen = 0
        self._kill_at_word = 0
        self._words = 0
        # without DSN: it is for us to tell a sender that asked of what was relayed
        self.server = ScriptedServer(on=self._verdict, keywords=("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "SIZE"))
        top, queue = plot.settings
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(
                f'hostname = "host.example.org"\nspool = "{self.spool}"\nmin_free_space = "0"\n{top}'
                f'[[relay]]\nname = "r"\nhosts = ["smtp+notls://127.0.0.1:{self.server.port}"]\n'
                f'[queue]\nretry = ["1h"]\n{queue}'
                # one message in doubt at a time, so that the law on duplicates is sharp
                "[limits]\nmax_connections = 1\n"
            )
        for subject, fate in plot.fates.items():
            wish = ["-N", fate.notify] if fate.notify else []
            done = self.sendmail(["-f", fate.sender, *wish, *fate.recipients], text_of(subject))
            assert done.code == 0, done.stderr
        self._let_age()
        os.rename(self.spool, self._saved)

    def close(self) -> None:
        """Ends the server."""
        self.server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _let_age(self) -> None:
        for name in os.listdir(f"{self.spool}/new"):
            path = f"{self.spool}/new/{name}"
            with open(path, "rb") as file:
                line, text = file.readline(), file.read()
            subject = message_from_bytes(text)["Subject"]
            arrived = time.time() - self.plot.fates[subject].age
            with open(path, "wb") as file:
                file.write(re.sub(rb'"arrived":[0-9.]+', b'"arrived":%.6f' % arrived, line) + text)

    def _verdict(self, point: str, argument: bytes, session: Session) -> Answer | None:
        self._words += point in WORDS
        if point in WORDS and self._words == self._kill_at_word:
            with open(self.runner.trace, encoding="ascii") as text:
                os.kill(int(text.readline().split()[1]), signal.SIGKILL)
        if point == "RCPT":
            name = argument.partition(b"<")[2]
            if name.startswith((b"bad", b"gone")) or (name.startswith(b"turns-bad") and self._recovered):
                return b"550 5.1.1 no such user"
            if name.startswith((b"later", b"turns-bad")) and not self._recovered:
                return b"450 4.2.1 later"
        return None

    def sendmail(self, argv: list[str], text: bytes, **how: Any) -> Outcome:
        """Enqueues."""
        return self.runner.run(["sendmail", "-C", self.config, *argv], self.spool, text, **how)

    def flush(self, *argv: str, kill_at_word: int = 0, **how: Any) -> Outcome:
        """One pass, to its end or its death; returns when the server has seen it go.

        kill_at_word: the server kills it at that many WORDS of the dialogue.
        """
        self._words, self._kill_at_word = 0, kill_at_word
        done = self.runner.run(["smartrelay", "--config", self.config, "flush", *argv], self.spool, **how)
        self.server.wait_for(lambda: self.server.open_connections == 0)
        return done

    def operate(self, *argv: str, **how: Any) -> Outcome:
        """An operator's command, to its end or its death."""
        return self.runner.run(["smartrelay", "--config", self.config, "queue", *argv], self.spool, **how)

    def queue(self, *argv: str) -> None:
        """An operator's command, which must succeed."""
        done = self.operate(*argv)
        assert done.code == 0, done.stderr

    def fresh(self, saved: str = "") -> None:
        """The spool as it was before any pass, or as it was saved, and a server that has seen nothing and puts `later` off."""
        shutil.rmtree(self.spool, ignore_errors=True)
        shutil.copytree(saved or self._saved, self.spool)
        self._recovered = False
        self._seen = len(self.server.sessions)

    def recover(self, *argv: str, passes: int = 2) -> None:
        """Passes without hindrance: one with the same verdicts (if there are 2), then one to a server that has recovered.

        argv: of the first.
        """
        if passes > 1:
            done = self.flush(*argv)
            assert done.code == 0, done.stderr
        self._recovered = True
        done = self.flush("--all")
        assert done.code == 0, done.stderr

    def arrivals(self) -> Arrivals:
        """What the server took since the scene began."""
        found = Arrivals()
        transactions = [each for session in self.server.sessions[self._seen :] for each in session.transactions]
        for transaction in transactions:
            if transaction.accepted:
                _note(found, transaction)
        return found

    def check(self, doubts: int, what: object) -> None:
        """The laws, once `recover` has been through. doubts: how many crashes or faults there were; what: for the words."""
        found = self.arrivals()
        # Nothing is lost, nothing goes to anybody else, and nothing bounces that was not refused.
        assert set(found.messages) == self.plot.delivered, what
        told = Counter(each for notice in found.reported.values() for each in notice)
        assert set(told) == self.plot.told, what
        # What is told of a recipient is in one notice, and that notice may come twice only as the same notice.
        assert max(told.values()) == 1, (what, found.reported)
        # Law 10: each crash doubles at most the one message that was in doubt.
        repeated = sum(found.transactions.values()) - len(found.transactions)
        repeated += sum(found.notices.values()) - len(found.notices)
        assert repeated <= doubts, (what, found)
        self.check_litter(what)

    def check_litter(self, what: object) -> None:
        """Nothing is left but drafts, and those only until their time has come."""
        assert set(contents(self.spool)) <= {"tmp"}, (what, contents(self.spool))
        for name in os.listdir(f"{self.spool}/tmp"):
            os.utime(f"{self.spool}/tmp/{name}", (1, 1))


def _note(found: Arrivals, transaction: Transaction) -> None:
    recipients = tuple(each.decode().strip("<>") for each in transaction.recipients)
    parsed = message_from_bytes(transaction.content)
    if parsed.get_content_type() != "multipart/report":
        found.transactions[str(parsed["Subject"]), recipients] += 1
        found.messages.update((str(parsed["Subject"]), recipient) for recipient in recipients)
        return
    assert b"FROM:<>" in transaction.mail_from.upper()  # C-020
    (to,) = recipients
    identity = str(parsed["Message-ID"])
    rows = groups(transaction.content)
    told = {(to, "expired" if status == "5.4.7" else action, address) for address, action, status in rows}
    assert told and found.reported.setdefault(identity, told) == told, "one Message-ID, two contents"
    found.notices[identity] += 1


def groups(notice: bytes) -> list[tuple[str, str, str]]:
    """Address, action and status in each group of a notice's report."""
    text = notice.decode().replace("\r\n", "\n")
    return re.findall(r"^Final-Recipient: rfc822; (\S+)\nAction: (\w+)\nStatus: (\S+)$", text, re.MULTILINE)
