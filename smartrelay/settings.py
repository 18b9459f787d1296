"""The settings that stand above the configuration's first table: all that enqueueing needs.

They are read by a scanner of one-line `key = value` settings, with tomllib as the fall-back for everything else that TOML
allows, because importing tomllib costs twice the rest of the enqueue command. A configuration that is broken further down,
or even here, never stops mail from being queued: what can be read counts, and only a spool that cannot be known is an
error. `config` reads the same file strictly, for everything that is not the enqueue path.

On the enqueue path: imports `posix` and `errors` only.
"""

import posix

from smartrelay.errors import ConfigError

SYSTEM_FILE = "/etc/smartrelay/smartrelay.toml"
SYSTEM_SPOOL = "/var/spool/smartrelay"
SYSTEM_SOCKET = "/run/smartrelay/submit.sock"
ALIASES = "/etc/aliases"
_LOOP_BACK = ("localhost", "localhost.localdomain")
SYSTEM_STATUS = "/run/smartrelay/status.json"
_BARE_KEY = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

Scalar = str | int | bool


class Settings:
    """hostname: name in EHLO and Message-ID. domain: completes local names; has_domain: it was set. own_names: domains that
    mean this host. aliases: the file of aliases. postmaster: as it is written, who gets local mail without an alias, or "".
    log: where the log goes, as it is written. spool: its directory. direct: the caller named the spool or the configuration
    itself. status_file: where passes tell everyone how it stands, "" for nowhere. Sizes in octets. submit_socket: where those
    hand over their mail who may not write to the spool, "" for nowhere. submit_rate: how much mail each of them may, as it was
    written."""

    __slots__ = (
        "aliases",
        "direct",
        "domain",
        "file",
        "has_domain",
        "hostname",
        "log",
        "max_message_size",
        "max_recipients",
        "min_free_space",
        "own_names",
        "postmaster",
        "spool",
        "status_file",
        "submit_rate",
        "submit_socket",
    )

    def __init__(self) -> None:
        self.file = SYSTEM_FILE
        self.hostname = ""
        self.domain = ""
        self.has_domain = False
        self.own_names: tuple[str, ...] = _LOOP_BACK
        self.aliases = ALIASES
        self.postmaster = ""
        self.log = "auto"
        self.spool = ""
        self.direct = False
        self.status_file = ""
        self.max_message_size = 50 << 20
        self.max_recipients = 10000
        self.min_free_space = 100 << 20
        self.submit_socket = ""
        self.submit_rate = ""


def environment(name: str) -> str:
    """An environment variable without `os`; "" where it is not set, and to a set-uid program's child, which has another's
    rights than who has set it."""
    if posix.getuid() != posix.geteuid() or posix.getgid() != posix.getegid():
        return ""
    return posix.environ.get(name.encode("ascii"), b"").decode("utf-8", "surrogateescape")


def find(option: str) -> tuple[str, bool]:
    """The configuration file to read, and whether it is the caller's own: `--config`, the environment, the user's, the
    system's."""
    root = posix.geteuid() == 0
    named = option or environment("SMARTRELAY_CONFIG")
    if named:
        return named, not root and named != SYSTEM_FILE
    if not root:
        own = _own_file()
        try:
            posix.stat(own)
        except OSError:
            return SYSTEM_FILE, False
        return own, True
    return SYSTEM_FILE, False


def _own_file() -> str:
    return f"{_home('XDG_CONFIG_HOME', '.config')}/smartrelay/smartrelay.toml"


def default_spool(own: bool) -> str:
    """Where the spool is when nothing names it: the user's state directory for a configuration of their own."""
    return f"{_home('XDG_STATE_HOME', '.local/state')}/smartrelay" if own else SYSTEM_SPOOL


def default_status(file: str) -> str:
    """Where passes tell how it stands when nothing says where, for the system's configuration and a user's own in their usual
    places: a pass over any other spool must not overwrite that."""
    if file == SYSTEM_FILE:
        return SYSTEM_STATUS
    if posix.geteuid() and file == _own_file():
        return f"{environment('XDG_RUNTIME_DIR') or f'/run/user/{posix.geteuid()}'}/smartrelay/status.json"
    return ""


def _home(variable: str, below: str) -> str:
    found = environment(variable)
    if found:
        return found
    home = environment("HOME")
    if not home:
        import pwd

        try:
            home = pwd.getpwuid(posix.geteuid()).pw_dir
        except KeyError:
            home = "/nonexistent"
    return f"{home}/{below}"


def load(config: str = "", spool: str = "") -> Settings:
    """The settings for a caller with these `--config` and `--spool` options ("" for none).

    Raises ConfigError only when the spool cannot be known.
    """
    settings = Settings()
    settings.file, own = find(config)
    spool = spool or environment("SMARTRELAY_SPOOL")
    named = bool(config or environment("SMARTRELAY_CONFIG"))
    text = _configuration(settings.file, named=named, needed=not spool)
    found, damaged = top_level(text)
    if not spool:
        named_here = found.get("spool", "")
        # any line that cannot be read and has the word in it may have been meant to name the spool
        unsure = any("spool" in key.lower() for key in damaged)
        if unsure or not isinstance(named_here, str) or named_here[:1] not in ("", "/"):
            raise ConfigError(f'{settings.file}: the value of `spool` cannot be read; write spool = "/a/directory" on one line')
        settings.direct = own
        spool = named_here or default_spool(own)
        settings.status_file = default_status(settings.file)
    else:
        settings.direct = True
    settings.spool = spool
    # a name that cannot stand in an address would spoil every message that is completed with it: the next one then
    settings.hostname = (
        _domain(environment("SMARTRELAY_HOSTNAME")) or _domain(found.get("hostname")) or _domain(node_name()) or "localhost"
    )
    domain = _domain(found.get("domain"))
    settings.has_domain = bool(domain)
    settings.domain = domain or domain_of_host(settings.hostname)
    settings.own_names = own_names(settings.hostname, settings.domain)
    settings.aliases = _text(found.get("aliases"), ALIASES)
    settings.postmaster = _text(found.get("postmaster"), "")
    settings.log = _text(found.get("log"), settings.log)
    status_file = found.get("status_file")
    if isinstance(status_file, str) and status_file[:1] in ("", "/"):
        settings.status_file = status_file
    settings.max_message_size = _octets(found.get("max_message_size"), settings.max_message_size)
    settings.min_free_space = _octets(found.get("min_free_space"), settings.min_free_space)
    settings.submit_socket = _text(found.get("submit_socket"), "" if settings.direct else SYSTEM_SOCKET)
    settings.submit_rate = _text(found.get("submit_rate"), "")
    limit = found.get("max_recipients")
    if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0:
        settings.max_recipients = limit
    return settings


def is_domain(name: str) -> bool:
    """Whether `name` may stand behind an `@`, in Message-ID and after EHLO."""
    if len(name) > 255 or "" in name.split("."):
        return False
    return name.isprintable() and all(char in _BARE_KEY or char == "." or "\x7f" < char != "\ufffd" for char in name)


def _domain(value: Scalar | None) -> str:
    return value if isinstance(value, str) and is_domain(value) else ""


def _text(value: Scalar | None, default: str) -> str:
    return value if isinstance(value, str) else default


def own_names(hostname: str, domain: str) -> tuple[str, ...]:
    """The domains, in lower case, at which an address is that of a local name: this host's own name among them, but where
    that may be the domain of people whose mailboxes are elsewhere."""
    name, domain = hostname.lower(), domain.lower()
    return (*_LOOP_BACK, name) if name != domain and "." in domain else _LOOP_BACK


def domain_of_host(hostname: str) -> str:
    """What completes local names when no `domain` is set: the host's own domain, or its bare name."""
    return hostname.partition(".")[2] or hostname


def node_name() -> str:
    """This host's name, completed from /etc/hosts, never by DNS: a host that is offline still knows its name."""
    node = posix.uname().nodename
    if "." in node:
        return node
    try:
        hosts = _read("/etc/hosts")
    except OSError:
        return node
    for line in hosts.split("\n"):
        names = line.partition("#")[0].split()[1:]
        if node in names:
            return next((name for name in names if name.startswith(f"{node}.")), node)
    return node


def parse_size(text: str) -> int:
    """Octets of a size such as "50M" (powers of 1024). Raises ValueError."""
    number = text.strip().upper().removesuffix("B")
    unit = number[-1:] if number[-1:].isalpha() else ""
    digits = number.removesuffix(unit).strip()
    if unit not in _UNITS or not digits.isdecimal():
        raise ValueError(f"{text!a} is no size; write for example 50M")
    return int(digits) * _UNITS[unit]


def _octets(value: Scalar | None, default: int) -> int:
    if isinstance(value, bool) or value is None:
        return default
    if isinstance(value, int):
        return value if value >= 0 else default
    try:
        return parse_size(value)
    except ValueError:
        return default


def top_level(text: str) -> tuple[dict[str, Scalar], set[str]]:
    """The scalars above the first table of a TOML text, and the keys whose values could not be read."""
    found, damaged = _scan(text)
    if not damaged:
        return found, damaged
    import tomllib

    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError):  # besides its own, that of an integer of thousands of digits
        return found, damaged
    scalars = {key: value for key, value in table.items() if isinstance(value, str | int)}
    return scalars, set(table) - set(scalars)


def _scan(text: str) -> tuple[dict[str, Scalar], set[str]]:
    found: dict[str, Scalar] = {}
    damaged: set[str] = set()
    for line in text.split("\n"):
        line = line.strip(" \t\r")
        if not line or line[0] == "#":
            continue
        if line[0] == "[":
            break
        key, equals, rest = line.partition("=")
        key = key.strip(" \t")
        value = _scalar(rest.strip(" \t"))
        if not equals or value is None or not key or not _BARE_KEY.issuperset(key) or key in found:
            damaged.add(key.strip("\"'"))
        else:
            found[key] = value
    return found, damaged


def _scalar(text: str) -> Scalar | None:
    """A one-line string, integer or truth value with an optional comment behind it; None for anything else."""
    mark = text[:1]
    if mark in ('"', "'"):
        end = text.find(mark, 1)
        value, rest = text[1:end], text[end + 1 :].lstrip(" \t")
        plain = end > 0 and (mark == "'" or "\\" not in value) and value.isprintable()
        if not plain or text.startswith(mark * 3) or (rest and rest[0] != "#"):
            return None
        return value
    word = text.partition("#")[0].strip(" \t")
    if word in ("true", "false"):
        return word == "true"
    if word.isdecimal() and word.isascii() and (word == "0" or word[0] != "0") and len(word) < 20:
        return int(word)
    return None


def _read(path: str) -> str:
    """A small text file. Raises OSError."""
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        pieces = []
        while piece := posix.read(descriptor, 1 << 16):
            pieces.append(piece)
    finally:
        posix.close(descriptor)
    return b"".join(pieces).decode("utf-8", "replace")


def _configuration(path: str, *, named: bool, needed: bool) -> str:
    """The text of the configuration; "" for a default one that is not there, and for any other trouble when the spool is
    known without it."""
    try:
        return _read(path)
    except OSError as error:
        if needed and (named or not isinstance(error, FileNotFoundError)):
            raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
        return ""
