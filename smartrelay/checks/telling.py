"""How others are told how it stands: the log, the status file, and the command of [alert]."""

import os
import shutil

from smartrelay import sinks
from smartrelay.checks.finding import FAIL, OK, WARN, Finding
from smartrelay.config import Config
from smartrelay.sinks import AUTO, FILE, STDERR, SYSLOG


def findings(config: Config) -> list[Finding]:
    """What a pass could not do, by whom the spool belongs to. Nothing is written, and the command is not run."""
    found = [] if config.log in (AUTO, STDERR) else [_log(config.log)]
    found += [_status_file(config.status_file)] if config.status_file else []
    return found if config.alert is None else [*found, _command(config.alert.command[0])]


def _log(where: str) -> Finding:
    obstacle = sinks.obstacle(where)
    if not obstacle:
        return Finding(OK, "log", f"what passes do is written to {where.removeprefix(FILE)}")
    if where == SYSLOG:
        return Finding(WARN, "log", f"nobody takes what is told to syslog: {obstacle}; it is lost", 'set log = "auto"')
    path = where.removeprefix(FILE)
    words = f'passes cannot write to {path}: {obstacle}; what they do is told where log = "auto" has it'
    mend = f"install -d -m 2750 -o {os.geteuid()} -g adm {os.path.dirname(path)}, and let its owner write to what is in it"
    return Finding(WARN, "log", words, mend)


def _status_file(path: str) -> Finding:
    directory = os.path.dirname(path)
    place = directory if os.path.lexists(directory) else os.path.dirname(directory)
    if os.path.isdir(path):
        words = f"{path} is a directory, so that `smartrelay health` knows nothing"
        return Finding(WARN, "status", words, "name a file in status_file")
    if not os.path.isdir(place) or not os.access(place, os.W_OK | os.X_OK):
        words = f"passes cannot write {path}, so that `smartrelay health` knows nothing"
        mend = f"install -d -m 0755 -o {os.geteuid()} {directory}; `smartrelay setup` has systemd-tmpfiles make the usual one"
        return Finding(WARN, "status", words, mend)
    if place == directory and not os.stat(directory).st_mode & 0o001:
        return Finding(WARN, "status", f"others cannot look into {directory}, to read {path}", f"chmod 755 {directory}")
    return Finding(OK, "status", f"passes tell everyone how it stands in {path}")


def _command(name: str) -> Finding:
    if shutil.which(name) is None:
        mend = "write its whole path, and let the spool's owner execute it"
        return Finding(FAIL, "alert", f"there is no command {name!a} to tell of stuck mail", mend)
    return Finding(OK, "alert", f"{name!a} tells when mail is stuck, or a relay does not let us in")
