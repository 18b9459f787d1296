"""A private root that stays mounted while its program is timed: to make it for each call would cost more than the call."""

import ctypes
import os
import subprocess

from tests.support.private_root import PrivateRoot

_CLONE_NEWNS = 0x20000
_libc = ctypes.CDLL(None, use_errno=True)


class Room:
    """Holds the mounts of a root, by a process that waits inside."""

    def __init__(self, root: PrivateRoot) -> None:
        waiting = root.command("/bin/sh", "-c", "echo; exec /bin/sleep infinity")
        self._process = subprocess.Popen(waiting, stdout=subprocess.PIPE, env={"PATH": "/usr/bin:/bin"})
        assert self._process.stdout is not None
        self._process.stdout.read(1)
        here = f"/proc/{self._process.pid}"
        self._mounts, self._root = os.open(f"{here}/ns/mnt", os.O_RDONLY), os.open(f"{here}/root", os.O_RDONLY)

    def enter(self) -> None:
        """Takes this process inside, for good (`process.Command.enter`)."""
        if _libc.setns(self._mounts, _CLONE_NEWNS):
            raise OSError(ctypes.get_errno(), "setns")
        os.fchdir(self._root)
        os.chroot(".")

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        os.close(self._mounts)
        os.close(self._root)
