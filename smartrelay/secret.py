"""Secrets by reference: `file:PATH`, `env:NAME`, `cmd:COMMAND`, `credential:NAME` (systemd's $CREDENTIALS_DIRECTORY).

A secret is read when it is needed, by the process that needs it, and is never written anywhere.
"""

import os
import stat

from smartrelay.errors import ConfigError

_COMMAND_SECONDS = 30
_LONGEST = 1 << 16


def resolve(reference: str, where: str, *, any_mode: bool = False) -> str:
    """The secret that `reference` names. where: file and key, for the sentence. Raises ConfigError."""
    kind, colon, name = reference.partition(":")
    if not colon or not name or kind not in ("file", *_KINDS):
        raise ConfigError(
            f'{where}: a secret is a reference such as "file:/path", "env:NAME", "cmd:COMMAND" or "credential:NAME"'
        )
    secret = _from_file(name, where, any_mode) if kind == "file" else _KINDS[kind](name, where)
    secret = secret.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise ConfigError(f"{where}: the secret {kind}:{name if kind != 'cmd' else '...'} is empty")
    if "\0" in secret or "\n" in secret:
        raise ConfigError(f"{where}: the secret has more than one line or a NUL octet")
    if any("\ud800" <= char <= "\udfff" for char in secret):
        raise ConfigError(f"{where}: the secret {kind}:{name} is not UTF-8")
    return secret


def _from_file(path: str, where: str, any_mode: bool) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_IMODE(mode) & 0o077 and not any_mode:
                raise ConfigError(
                    f"{where}: others than its owner can read the secret {path} (mode {stat.S_IMODE(mode):04o}); "
                    f'chmod 600 it, or set secret_mode = "any"'
                )
            return file.read(_LONGEST)
    except OSError as error:
        raise ConfigError(f"{where}: cannot read the secret {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: the secret {path} is not UTF-8") from error


def _from_environment(name: str, where: str) -> str:
    if name not in os.environ:
        raise ConfigError(f"{where}: the environment has no ${name}")
    return os.environ[name]


def _from_credential(name: str, where: str) -> str:
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise ConfigError(f"{where}: credential:{name} needs systemd's LoadCredential ($CREDENTIALS_DIRECTORY is not set)")
    if "/" in name or name in (".", ".."):
        raise ConfigError(f"{where}: credential:{name} is no name of a credential")
    # systemd itself gives these files the right mode, and a wider one to a unit without a user of its own
    return _from_file(f"{directory}/{name}", where, any_mode=True)


def _from_command(command: str, where: str) -> str:
    import subprocess

    try:
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        if done.returncode:
            raise ConfigError(f"{where}: the secret's command failed with exit code {done.returncode}")
        return done.stdout.decode("utf-8")
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"{where}: the secret's command took longer than {_COMMAND_SECONDS} s") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: the secret's command failed: {error}") from error


_KINDS = {"env": _from_environment, "cmd": _from_command, "credential": _from_credential}
