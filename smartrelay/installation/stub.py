"""The file that `sendmail` and its sister names link to: the fastest way into the program that works on this machine.

pip's console script imports `re` or at least `site`, and pip drops interpreter options from a first line; so the
installation writes a file of its own: an isolated interpreter without `site`, the package's directory, the bundle. It
costs a fifth of what a console script can cost, on each message.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass

from smartrelay.errors import CannotCreate
from smartrelay.installation import files
from smartrelay.installation.program import Program
from smartrelay.installation.step import Site


def forms(program: Program, config: str, bundle: str) -> list[bytes]:
    """The stub's text in the order of preference. The second goes by way of sh, which costs a tenth more, where the
    first line cannot name the interpreter: it ends at the first blank, and after 127 octets on kernels before 5.1."""
    code = (
        "import sys, _signal\n"
        "_signal.signal(_signal.SIGINT, _signal.SIG_DFL)\n"
        f"sys.path.insert(0, {program.library!a})\n"
        "try:\n"
        "    import marshal, posix, _frozen_importlib_external as importing\n"
        f"    file = posix.open({bundle!a}, posix.O_RDONLY | posix.O_CLOEXEC)\n"
        "    text = posix.read(file, 1 << 20)\n"
        "    posix.close(file)\n"
        "    if text.startswith(importing.MAGIC_NUMBER):\n"
        "        loader, parts = marshal.loads(text[len(importing.MAGIC_NUMBER):])\n"
        "        exec(loader)\n"
        "        install(parts)\n"
        "except (ImportError, OSError, ValueError, EOFError, TypeError):\n"
        "    pass\n"
        "from smartrelay.door import main\n"
        f"main({config!a}, {program.command!a})\n"
    ).encode("ascii")
    interpreter = os.fsencode(program.interpreter)
    direct = b"#!%s -IS\n%s" % (interpreter, code)
    # To Python the second and third line are a string; sh replaces itself before it reads on. $0 keeps the name it
    # was called by.
    through_sh = b"#!/bin/sh\n'''exec' '%s' -IS \"$0\" \"$@\"\n' '''\n%s" % (interpreter, code)
    return [direct, through_sh] if b" " not in interpreter and len(interpreter) < 120 else [through_sh]


@dataclass(frozen=True)
class Stub:
    """The stub, tried before it takes its place; where no form of it runs, a link to the console script."""

    site: Site
    program: Program
    config: str

    def needed(self) -> bool:
        real = self.site.places.real(self.site.places.stub)
        if os.path.islink(real):
            return os.readlink(real) != self.program.console
        return files.read(real) not in forms(self.program, self.config, self.site.places.bundle) or not os.access(real, os.X_OK)

    def describe(self) -> str:
        return f"create program {self.site.places.stub} (runs {self.program.interpreter} on {self.program.library})"

    def apply(self) -> None:
        stub = self.site.places.stub
        real = self.site.places.real(stub)
        trial = f"{os.path.dirname(real)}/.trial"
        shutil.rmtree(trial, ignore_errors=True)
        os.mkdir(trial, 0o755)
        try:
            chosen, trouble = self._try(f"{trial}/sendmail")
            self._record(chosen)
            if chosen is None:
                os.symlink(self.program.console, f"{trial}/sendmail")
                if not _runs(f"{trial}/sendmail")[0]:
                    raise CannotCreate(f"neither {stub} nor {self.program.console} runs: {trouble}")
            os.replace(f"{trial}/sendmail", real)
        finally:
            shutil.rmtree(trial, ignore_errors=True)

    def _try(self, path: str) -> tuple[bytes | None, str]:
        trouble = ""
        for text in forms(self.program, self.config, self.site.places.bundle):
            files.write(path, text, 0o755)
            good, trouble = _runs(path)
            if good:
                return text, ""
            os.unlink(path)
        return None, trouble

    def _record(self, chosen: bytes | None) -> None:
        record, stub = self.site.record, self.site.places.stub
        kind = "link" if chosen is None else "file"
        other = record.find("file" if chosen is None else "link", stub)
        if other is not None:
            record.forget(other)
        if chosen is None:
            record.add(kind, stub, target=self.program.console)
        else:
            record.add(kind, stub, sha256=files.checksum(chosen))


def _runs(path: str) -> tuple[bool, str]:
    """Whether the program at `path` tells its version, and what went wrong."""
    try:
        done = subprocess.run(
            [path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    if done.returncode or "smartrelay" not in done.stdout:
        return False, " ".join(done.stderr.split()[-40:]) or f"exit status {done.returncode}, no version"
    return True, ""
