"""Becoming another user in a process that is about to be another program."""

import ctypes
import os
from collections.abc import Callable

_PR_SET_SECUREBITS, _NO_SETUID_FIXUP = 28, 1 << 2
_libc = ctypes.CDLL(None, use_errno=True)


def become(uid: int) -> Callable[[], None]:
    """What makes a process of root's that user's (`process.Command.enter`).

    Root's capabilities stay until the program begins, as setpriv(1) leaves them: the interpreter may lie where nobody else can
    go.
    """

    def enter() -> None:
        if _libc.prctl(_PR_SET_SECUREBITS, _NO_SETUID_FIXUP, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)

    return enter
