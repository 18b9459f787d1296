"""Times as a person reads them."""

import time


def moment(seconds: float) -> str:
    """A time in Unix seconds as date and time of day where this machine is, whatever a damaged journal has for one."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (TypeError, ValueError, OverflowError, OSError):
        return "at an unknown time"
