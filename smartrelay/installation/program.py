"""What is installed: which interpreter, which package, which command."""

import os
import stat
import sys
import sysconfig
from dataclasses import dataclass

from smartrelay.errors import CannotCreate
from smartrelay.installation import data


@dataclass(frozen=True)
class Program:
    """Absolute paths: the interpreter (a venv's own link, unresolved: the venv hangs on its name), the directory that
    holds the package, the `smartrelay` command, and the console script that pip made for sendmail."""

    interpreter: str
    library: str
    command: str
    console: str

    def needs(self) -> tuple[str, ...]:
        """Every path that a caller must be able to read, with links followed too."""
        named = (self.interpreter, self.command, data.PACKAGE, os.path.realpath(sys.base_prefix))
        return tuple(dict.fromkeys(path for name in named for path in (name, os.path.realpath(name))))


def running() -> Program:
    """The program that this process is."""
    interpreter = os.path.abspath(sys.executable)
    called = os.path.abspath(sys.argv[0])
    beside = [os.path.dirname(interpreter), sysconfig.get_path("scripts")]
    if not os.path.islink(called):  # by the link that setup makes nothing can be told of what lies beside the command
        beside.insert(0, os.path.dirname(called))
    for directory in beside:
        command = f"{directory}/smartrelay"
        if os.path.isfile(command) and os.access(command, os.X_OK):
            return Program(interpreter, os.path.dirname(data.PACKAGE), command, f"{directory}/smartrelay-sendmail")
    raise CannotCreate(f"there is no smartrelay command in {beside[-1]}; install it with pip: pip install smartrelay")


def closed_to_others(paths: tuple[str, ...]) -> str:
    """The first directory on the way to one of these paths that users other than its owner cannot enter, or ""."""
    for path in paths:
        parts = path.strip("/").split("/")
        for end in range(1, len(parts) + 1):
            directory = "/" + "/".join(parts[:end])
            if os.path.isdir(directory) and not os.stat(directory).st_mode & stat.S_IXOTH:
                return directory
    return ""
