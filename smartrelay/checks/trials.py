"""Trials side by side: what is slow or dead costs its time once."""

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

_T = TypeVar("_T")

AT_ONCE = 20
"""As many connections as a pass makes where the configuration does not say otherwise."""


def run(trials: Sequence[Callable[[], _T]], seconds: float = math.inf) -> list[_T | None]:
    """What each trial returned, in their order; None for one that was not through after `seconds`, which is left behind.

    Raises what a trial raised.
    """
    found: list[_T | None] = []
    for first in range(0, len(trials), AT_ONCE):
        some = [_Trial(trial) for trial in trials[first : first + AT_ONCE]]
        end = time.monotonic() + seconds
        for trial in some:
            trial.thread.join(None if seconds == math.inf else max(0.0, end - time.monotonic()))
        found += [trial.result() for trial in some]
    return found


class _Trial(Generic[_T]):
    def __init__(self, trial: Callable[[], _T]) -> None:
        self._trial = trial
        self._found: _T | None = None
        self._error: BaseException | None = None
        # the process must be able to end while one of these hangs
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._found = self._trial()
        except BaseException as error:
            self._error = error

    def result(self) -> _T | None:
        if self._error is not None:
            raise self._error
        return self._found
