"""Relay rules understood one by one, each with its secret fetched as a pass fetches it."""

import os
import pwd
import stat
from typing import NamedTuple

from smartrelay.checks.finding import FAIL, OK, WARN, Finding
from smartrelay.config import Auth, Config, Relay
from smartrelay.errors import ConfigError
from smartrelay.routing.relays import NextHop, Routes


class Understood(NamedTuple):
    """One rule. hop: ready to be used, without its sign-in where there is no secret; None where the rule itself is wrong."""

    relay: Relay
    hop: NextHop | None
    findings: tuple[Finding, ...]


def understand(config: Config, relay: Relay, *, entitled: bool) -> Understood:
    """Reads a rule's URLs and fetches its secret. entitled: the caller is somebody whose passes these are, so that a secret
    that is closed to them is a fault."""
    alone = config._replace(relays=(relay,))
    try:
        (hop,) = Routes.of(alone, secrets=False).hops
    except ConfigError as error:
        return Understood(relay, None, (Finding(FAIL, "relay", str(error), "", relay.name),))
    if hop.auth is None or not (relay.auth is None or relay.auth.secret):
        return Understood(relay, hop, ())  # no sign-in, or by a client certificate alone
    try:
        (ready,) = Routes.of(alone).hops
    except ConfigError as error:
        return Understood(relay, NextHop(relay, hop.groups, None, ""), (_missing(relay, error, entitled=entitled),))
    return Understood(relay, ready, (_there(config, relay),))


def _missing(relay: Relay, error: ConfigError, *, entitled: bool) -> Finding:
    """Why there is no secret. `secret` says how to mend what it complains of."""
    reference = relay.auth.secret if relay.auth is not None else ""
    if reference.startswith("credential:") and not os.environ.get("CREDENTIALS_DIRECTORY"):
        words = f"{reference} is there for the systemd unit alone, so that it cannot be tried from here"
        mend = "run this in the unit's place: systemd-run --pty -p LoadCredential=... smartrelay check"
        return Finding(WARN, "secret", words, mend, relay.name)
    if isinstance(error.__cause__, PermissionError) and not entitled:
        return Finding(WARN, "secret", f"{error}, so that it cannot be tried", "run this as root", relay.name)
    mend = ""
    if isinstance(error.__cause__, PermissionError):
        mend = f"let {_caller()} own it: chown {_caller()} {reference.partition(':')[2]}"
    return Finding(FAIL, "secret", str(error), mend, relay.name)


def _caller() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _there(config: Config, relay: Relay) -> Finding:
    auth = relay.auth
    if auth is None:
        return _in_the_url(config, relay)
    kind, _, name = auth.secret.partition(":")
    path = _path(auth)
    if not path:
        # a command may have a password in its words
        return Finding(OK, "secret", "its command gives one" if kind == "cmd" else f"${name} has one", "", relay.name)
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & 0o077 and kind == "file":
        words = f"others than its owner can read {path} (mode {mode:04o}), which secret_mode allows"
        return Finding(WARN, "secret", words, f"chmod 600 {path}, and take out secret_mode", relay.name)
    return Finding(OK, "secret", f"{path} has one, mode {mode:04o}", "", relay.name)


def _path(auth: Auth) -> str:
    """The file that a secret is in, "" for none."""
    kind, _, name = auth.secret.partition(":")
    if kind == "credential":
        return f"{os.environ.get('CREDENTIALS_DIRECTORY', '')}/{name}"
    return name if kind == "file" else ""


def _in_the_url(config: Config, relay: Relay) -> Finding:
    """The password stands in the relay URL: in the environment, or in the configuration itself."""
    if relay.where.startswith("$"):
        return Finding(OK, "secret", f"{relay.where} has one", "", relay.name)
    mode = stat.S_IMODE(os.stat(config.file).st_mode)
    if mode & 0o077:
        words = f"others than its owner can read {config.file} (mode {mode:04o}), and the relay URL in it has the password"
        mend = 'take it out of the URL: auth = { user = "me", secret = "file:/path" }'
        return Finding(WARN, "secret", words, mend, relay.name)
    return Finding(OK, "secret", f"{config.file} has one, mode {mode:04o}", "", relay.name)


def closed_to_us(relays: tuple[Relay, ...], user: str) -> list[Finding]:
    """Secrets that root has read and that this process, which is the spool's owner by now, could not: passes that are not
    started by root do without. user: what the owner is called."""
    found = []
    for relay in relays:
        path = _path(relay.auth) if relay.auth is not None and relay.auth.secret.startswith("file:") else ""
        if path and not os.access(path, os.R_OK):
            words = f"{path} can be read by root, but not by {user}, whom systemd starts the passes as"
            mend = f"chown it to {user}, or use credential: with LoadCredential= in the unit"
            found.append(Finding(FAIL, "secret", words, mend, relay.name))
    return found
