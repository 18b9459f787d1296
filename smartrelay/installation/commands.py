"""Programs of the system that setup calls."""

import shutil
import subprocess

from smartrelay.errors import CannotCreate


def present(name: str) -> bool:
    """Whether there is such a program. The system's directories count even where a caller's PATH lacks them."""
    return _path(name) is not None


def run(name: str, *arguments: str, text: str = "") -> str:
    """Runs a program of the system to its end and gives its output; a failure is an error in its own words."""
    command = _path(name)
    if command is None:
        raise CannotCreate(f"there is no {name} on this machine")
    done = subprocess.run([command, *arguments], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise CannotCreate(f"{name} {' '.join(arguments)} failed: {said}")
    return done.stdout


def succeeds(name: str, *arguments: str) -> bool:
    """Whether the program is there and ends well: for questions such as `systemctl is-active`."""
    command = _path(name)
    if command is None:
        return False
    return subprocess.run([command, *arguments], capture_output=True, check=False).returncode == 0


def _path(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
