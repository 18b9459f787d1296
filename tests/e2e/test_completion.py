"""Completion, tried in the real shells: what a person gets who presses the Tab key, and then Return.

Each shell runs at a terminal, with the files where `smartrelay setup --user` puts them.
"""

import os
import pty
import re
import select
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.commands import BIN, DOMAIN, SMARTRELAY, TIMEOUT, Machine, relay
from tests.support import debian

ME = f"me@{DOMAIN}"
X = b"Subject: x\n\nbody\n"
PROMPT = "READY>"
ESCAPES = re.compile(r"\x1b(\[[0-9;?>=]*[a-zA-Z]|[()][A-Z0-9]|\][^\x07\x1b]*(\x07|\x1b\\)|[=>78])")


class Shell:
    """A shell at a terminal, ready for keys."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: str) -> None:
        # a terminal that it controls: else Ctrl-C is nobody's
        self._child, self._ours = pty.fork()
        if not self._child:
            os.chdir(folder)
            os.execve(command[0], command, environment)
        self._shown = ""

    def wait_for(self, *texts: str) -> str:
        """What is shown since the last call, as soon as all of these texts are."""
        end = time.monotonic() + TIMEOUT
        while not all(text in self._shown for text in texts):
            left = end - time.monotonic()
            ready = left > 0 and select.select([self._ours], [], [], left)[0]
            assert ready, f"{texts} not shown:\n{self._shown}"
            try:
                data = os.read(self._ours, 1 << 16)
            except OSError as error:
                raise AssertionError(f"it has ended:\n{self._shown}") from error
            self._shown += ESCAPES.sub("", data.decode("utf-8", "replace"))
        shown, self._shown = self._shown, ""
        return shown

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def close(self) -> None:
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)
        os.close(self._ours)


def bash(home: Path) -> list[str]:
    (home / "rc").write_text(f"PS1='{PROMPT}'\n. {debian.root('shells')}/usr/share/bash-completion/bash_completion\n")
    return ["/bin/bash", "--noprofile", "--rcfile", str(home / "rc"), "-i"]


def zsh(home: Path) -> list[str]:
    top = debian.root("shells")
    (modules,) = Path(top).glob("usr/lib/*/zsh/*")
    functions = [path for path in Path(f"{top}/usr/share/zsh/functions").rglob("*") if path.is_dir()]
    (home / ".zshrc").write_text(
        f"module_path=({modules})\nfpath=({home}/.local/share/zsh/site-functions {' '.join(map(str, functions))})\n"
        f"PS1='{PROMPT}'\nunset zle_bracketed_paste\nautoload -Uz compinit && compinit -u -D\n"
    )
    return [f"{top}/bin/zsh", "-i"]


def fish(home: Path) -> list[str]:
    """It takes what it needs from beside itself, where it finds all of that there."""
    top, own = debian.root("shells"), home / "fish"
    (own / "bin").mkdir(parents=True)
    shutil.copy(f"{top}/usr/bin/fish", own / "bin")
    (own / "share").symlink_to(f"{top}/usr/share")
    (own / "etc").symlink_to(f"{top}/etc")
    start = f"function fish_prompt; echo -n '{PROMPT}'; end; set -g fish_greeting; set -g fish_autosuggestion_enabled 0"
    return [f"{own}/bin/fish", "-i", "-C", start]


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}


@contextmanager
def shell(name: str, machine: Machine) -> Iterator[Shell]:
    done = machine.run("setup", "--user", "--yes", "--no-units", "--no-sendmail")
    assert done.code == 0, done.errors
    environment = {
        **{key: value for key, value in debian.environment("shells", machine.folder).items() if not key.startswith("XDG_")},
        **machine.environment,
        "PATH": f"{BIN}:{machine.environment['PATH']}",
        "TERM": "xterm",
        "LC_ALL": "C.UTF-8",
    }
    found = Shell(SHELLS[name](Path(machine.folder)), environment, machine.folder)
    try:
        found.wait_for(PROMPT)
        yield found
    finally:
        found.close()


@pytest.mark.parametrize("name", SHELLS)
def test_commands_options_ids_and_hosts_are_completed(machine: Machine, name: str) -> None:
    """Commands, options and their words; queue ids from the spool, described where the shell can; hosts with their ports."""
    machine.configure(relay("smtp://127.0.0.1:1"))
    first = machine.enqueue(X, "-f", ME, "one@b.example")
    machine.flush()
    second = machine.enqueue(X, "-f", ME, "two@b.example")
    with shell(name, machine) as at:
        at.press("smartrelay queue li\t--sta\the\t\r")
        at.wait_for("The queue is empty.", PROMPT)
        at.press("smartrelay queue list --sender me\t --state n\t\r")
        at.wait_for(second, "1 message", PROMPT)
        at.press(f"smartrelay queue show {first[:-1]}\t\r")
        at.wait_for("Queue id", f"{first} (deferred)", PROMPT)
        at.press("smartrelay hosts reset 127.0.0.1:\t\r")
        at.wait_for("1 host forgotten", PROMPT)
        at.press(f"{SMARTRELAY} queue hold {second[:-1]}\t\r")
        at.wait_for("1 message held", PROMPT)
        at.press("smartrelay queue show " + "\t" * (3 if name == "bash" else 2))  # one to complete, one to list
        at.wait_for(first, second, *([] if name == "bash" else [f"{ME} to one@b.example"]))
    assert machine.ids("hold") == [second]
