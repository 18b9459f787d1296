"""Who reads the mail of local names: `/etc/aliases`, then the postmaster (the format is that of sendmail and aliases(5)).

No mailbox is on this machine. A local name (one without a domain, or at localhost, or at this host's own name) is replaced
by those whom its alias names; without an alias by `postmaster`; without that it is completed with `domain`, where that is
set; and else it is refused, for mail that nobody can get must not be queued.

The files are read by the spool's owner, after root has become that user. An included list may belong to root and that
user only, all the way up: whoever else may change it or move it away could have any file read here.

Loaded where a recipient is local, and only there; imports `posix` only, like the enqueue path.
"""

import posix

from smartrelay.errors import AddressError, ConfigError, NoMailbox, TryAgain
from smartrelay.mail import header
from smartrelay.mail.address import canonical, domain_of, identity, qualified, split, unquoted
from smartrelay.settings import Settings
from smartrelay.submit.completion import is_local

_CATCH_ALL = "*"
_INCLUDE = ":include:"
_DEEPEST = 50
"""Aliases that may lead to each other, one after the other."""

_LARGEST = 16 << 20
"""Octets that a file of aliases or a list may have."""

_KIND, _REGULAR, _LINK = 0o170000, 0o100000, 0o120000
_BY_OTHERS, _STICKY = 0o022, 0o1000

Entry = tuple[str, str]
"""What an alias stands for, as it is written, and where that is: "FILE, line N"."""


def parse(text: str, path: str) -> dict[str, Entry]:
    """The aliases in a file's text, by their names in lower case. Lines that are no alias are passed over; of two with one
    name the first counts.

    A line that begins with a blank continues the one before; empty lines and those whose first sign is `#` count for nothing.
    """
    found: dict[str, Entry] = {}
    number, first, logical = 0, 0, ""
    for line in [*text.split("\n"), "end"]:
        number += 1
        bare = line.strip(" \t\r")
        if not bare or bare[0] == "#":
            continue
        if line[0] in " \t" and logical:
            logical += f" {bare}"
            continue
        if logical:
            name, value = _name_and_value(logical)
            if name and name not in found:
                found[name] = value, f"{path}, line {first}"
        first, logical = number, bare
    return found


def _name_and_value(line: str) -> tuple[str, str]:
    if line[0] == '"':
        end = line.find('"', 1)
        name, rest = line[1:end], line[end + 1 :].lstrip(" \t")
        return (name.lower(), rest[1:].strip(" \t")) if end > 0 and rest[:1] == ":" else ("", "")
    name, colon, value = line.partition(":")
    return (name.strip(" \t").lower(), value.strip(" \t")) if colon else ("", "")


def items(value: str) -> list[str]:
    """The items of an alias, which commas part; quotes, comments and `<>` keep theirs."""
    found, start, position, depth = [], 0, 0, 0
    quoted = False
    while position < len(value):
        char = value[position]
        if char == "\\":
            position += 1
        elif char == '"':
            quoted = not quoted
        elif quoted:
            pass
        elif char in "(<":
            depth += 1
        elif char in ")>":
            depth -= 1
        elif char == "," and depth <= 0:
            found.append(value[start:position])
            start = position + 1
        position += 1
    return [item.strip(" \t") for item in [*found, value[start:]] if item.strip(" \t")]


class Expansion:
    """One message's recipients on their way through the aliases, which are read once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._aliases: dict[str, Entry] | None = None
        self._found: dict[str, str] = {}
        self._seen: set[str] = set()
        self._way: list[str] = []

    def of(self, address: str) -> list[str]:
        """Who gets the mail of a recipient, each once, as canonical addresses: itself where it is not local.

        Raises NoMailbox; ConfigError where an alias says what cannot be done; TryAgain where a file cannot be read now.
        """
        self._found, self._way = {}, []
        self._seen.clear()
        self._address(address)
        if not self._found:
            self._without_alias(address, "its alias leads to nobody, or in a circle")
        return list(self._found.values())

    def _address(self, address: str) -> None:
        if not is_local(address, self._settings):
            self._take(address)
            return
        name = _bare(address).lower()
        aliases = self._load()
        if name in aliases:
            self._alias(name, *aliases[name])
        elif _CATCH_ALL in aliases and _CATCH_ALL not in self._way:
            self._alias(_CATCH_ALL, *aliases[_CATCH_ALL])
        else:
            self._without_alias(address, "it has no alias")

    def _alias(self, name: str, value: str, where: str) -> None:
        # who comes to a name again is in a circle, or has what it stands for
        if name in self._seen:
            return
        if len(self._way) >= _DEEPEST:
            raise ConfigError(f"{where}: the alias {name!a} is led to by more than {_DEEPEST} others, one after the other")
        self._seen.add(name)
        self._way.append(name)
        for item in items(value):
            self._item(item, name, where)
        self._way.pop()

    def _item(self, item: str, name: str, where: str) -> None:
        plain = unquoted(item) if len(item) > 1 and item[0] == item[-1] == '"' else item
        if plain[:1] == "|":
            raise ConfigError(f"{where}: the alias {name!a} hands mail to a program, which is not done here; write an address")
        if plain[:1] == "/":
            raise ConfigError(f"{where}: the alias {name!a} puts mail into a file, which is not done here; write an address")
        if plain[: len(_INCLUDE)].lower() == _INCLUDE:
            self._include(plain[len(_INCLUDE) :].strip(" \t"), name, where)
            return
        if plain[:1] == ":":
            raise ConfigError(f"{where}: the alias {name!a} has {plain!a}, which means nothing here; write an address")
        last = item[:1] == "\\"
        try:
            addresses = header.addresses(item[1:] if last else item)
        except AddressError as error:
            raise ConfigError(f"{where}: the alias {name!a} cannot be read: {error}") from error
        for address in addresses:
            if last:
                self._for_itself(address, name)
            else:
                self._address(address)

    def _for_itself(self, address: str, name: str) -> None:
        r"""`\name`: the name's own mailbox, not its alias. Of a copy that a name keeps for itself nothing comes: no mailbox
        is here."""
        if not is_local(address, self._settings):
            self._take(address)
        elif _bare(address).lower() != name:
            self._without_alias(address, "its alias is not to be used (\\)")

    def _include(self, path: str, name: str, where: str) -> None:
        key = f"{_INCLUDE}{path}"
        if key in self._seen:
            return
        if len(self._way) >= _DEEPEST:
            raise ConfigError(f"{where}: the list {path!a} is led to by more than {_DEEPEST} others, one after the other")
        self._seen.add(key)
        self._way.append(key)
        text = _read(path, f"the list {path!a} ({where})", whole_path=True)
        for number, line in enumerate(text.split("\n"), 1):
            bare = line.strip(" \t\r")
            if bare and bare[0] != "#":
                for item in items(bare):
                    self._item(item, name, f"{path}, line {number}")
        self._way.pop()

    def _take(self, address: str) -> None:
        self._found.setdefault(identity(address), address)

    def _without_alias(self, address: str, why: str) -> None:
        settings = self._settings
        name = _bare(address)
        postmaster = _postmaster(settings)
        if postmaster:
            self._take(postmaster)
        elif settings.has_domain:
            self._take(qualified(split(address)[0], settings.domain))
        else:
            raise NoMailbox(
                f"nobody would get mail for {name!a} on this host: {why}; write `{ascii(name)[1:-1]}: you@example.org` in "
                f'{settings.aliases}, or set postmaster = "you@example.org" in {settings.file}'
            )

    def _load(self) -> dict[str, Entry]:
        if self._aliases is None:
            path = self._settings.aliases
            text = _read(path, f"the file of aliases {path}", needed=False) if path else ""
            self._aliases = parse(text, path)
        return self._aliases


def _bare(address: str) -> str:
    """A local name without its domain and its quotes."""
    return unquoted(split(address)[0])


def _postmaster(settings: Settings) -> str:
    """The address of `postmaster`, "" where it is none that mail can be sent to."""
    try:
        address = canonical(settings.postmaster) if settings.postmaster else ""
    except AddressError:
        return ""
    return address if domain_of(address) and not is_local(address, settings) else ""


def _read(path: str, what: str, *, needed: bool = True, whole_path: bool = False) -> str:
    """The text of a file that only root and we may change. needed: it must be there. whole_path: nor may anybody else change
    where it is."""
    if path[:1] != "/" or "\0" in path:
        raise ConfigError(f"{what} must be an absolute path")
    try:
        if whole_path:
            _check_path(path, what)
        # a pipe must not hold us up
        flags = posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK | posix.O_NOCTTY
        descriptor = posix.open(path, flags | (posix.O_NOFOLLOW if whole_path else 0))
    except FileNotFoundError:
        if needed:
            raise ConfigError(f"{what} cannot be read: no such file") from None
        return ""
    except OSError as error:
        raise TryAgain(f"{what} cannot be read: {error.strerror}; nothing was accepted") from error
    try:
        status = posix.fstat(descriptor)
        if status.st_mode & _KIND != _REGULAR:
            raise ConfigError(f"{what} cannot be read: it is not a file")
        _check_owner(status, path, what)
        if status.st_size > _LARGEST:
            raise ConfigError(f"{what} is larger than {_LARGEST >> 20} MiB")
        pieces = []
        while piece := posix.read(descriptor, 1 << 16):
            pieces.append(piece)
    except OSError as error:
        raise TryAgain(f"{what} cannot be read: {error.strerror}; nothing was accepted") from error
    finally:
        posix.close(descriptor)
    return b"".join(pieces).decode("utf-8", "surrogateescape")


def _check_path(path: str, what: str) -> None:
    """Raises ConfigError where somebody else could put another file into this one's place."""
    end = 0
    while end < len(path):
        end = path.find("/", end + 1) if "/" in path[end + 1 :] else len(path)
        step = path[:end]
        status = posix.lstat(step)
        if status.st_mode & _KIND == _LINK:
            raise ConfigError(f"{what} is not read: {step} is a symbolic link; name what it leads to")
        _check_owner(status, step, what)


def _check_owner(status: posix.stat_result, path: str, what: str) -> None:
    if status.st_uid not in (0, posix.geteuid()):
        raise ConfigError(f"{what} is not read: {path} belongs to uid {status.st_uid}, not to root or uid {posix.geteuid()}")
    if status.st_mode & _BY_OTHERS and not status.st_mode & _STICKY:
        raise ConfigError(f"{what} is not read: others may write to {path}; use `chmod go-w`")
