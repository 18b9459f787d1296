"""The sendmail command line: what each option means here (the rows D-001 to D-046 of the checklist).

Options are read as getopt reads them: flags may be grouped, a value is glued on or is the next word (which then may begin
with `-`), options may follow addresses, `--` ends them. On the enqueue path: imports `errors` only.
"""

from smartrelay.errors import UsageError

DELIVER, SMTP, VERIFY, LIST, FLUSH, NEWALIASES, NOTHING, VERSION, HELP = (
    "deliver",
    "smtp",
    "verify",
    "list",
    "flush",
    "newaliases",
    "nothing",
    "version",
    "help",
)

_FLAGS = "itvnmUGxcsEJI"
_VALUES = "fFrBCNRVLhpXOAbo"
_GLUED = "qdeT"
"""Options whose value, if any, is glued on: they never take the next word."""

_NAMES = {
    "mailq": LIST,
    "newaliases": NEWALIASES,
    "runq": FLUSH,
    "hoststat": NOTHING,
    "purgestat": NOTHING,
}
_NOT_HERE = ("smtpd", "rsmtp")
_MODES = {"m": DELIVER, "s": SMTP, "v": VERIFY, "p": LIST, "i": NEWALIASES, "h": NOTHING, "H": NOTHING}
_AT_ONCE = {"i": True, "f": True, "b": False, "q": False, "d": False}
"""The delivery modes: whether one attempt is wanted at once. Background has no meaning without a daemon: it queues."""

_NO_DAEMON = "there is no daemon here; `smartrelay setup` puts the timer in place that sends what is queued"
_BAD_MODES = {"d": _NO_DAEMON, "D": _NO_DAEMON, "l": _NO_DAEMON}


class Options:
    """What one command line asks for. sender: -f as given, None when absent. dot_ends: a lone dot ends the message. passed_on:
    it did not begin here. format: whose layout a listing has, "" for the usual one. only: of a pass, "I", "R" or "S" and what
    the queue id, a recipient or the sender has in it. quiet: only the exit code tells of errors. at_once: whether the delivery
    mode asks for an attempt at once, None where none was given. at_keyboard: such an attempt follows."""

    __slots__ = (
        "at_keyboard",
        "at_once",
        "config",
        "dot_ends",
        "envid",
        "format",
        "from_header",
        "full_name",
        "mode",
        "notify",
        "only",
        "operands",
        "passed_on",
        "quiet",
        "ret",
        "sender",
        "spool",
        "verbose",
    )

    def __init__(self) -> None:
        self.mode = DELIVER
        self.sender: str | None = None
        self.full_name = ""
        self.from_header = False
        self.dot_ends = True
        self.passed_on = False
        self.only = ""
        self.quiet = False
        self.verbose = False
        self.at_once: bool | None = None
        self.at_keyboard = False
        self.notify = self.ret = self.envid = ""
        self.config = self.spool = self.format = ""
        self.operands: list[str] = []


def parse(arguments: list[str]) -> Options:
    """The options in `arguments`, whose first is the name of the program. Raises UsageError."""
    options = Options()
    name = arguments[0].rpartition("/")[2] if arguments else ""
    if name in _NOT_HERE:
        raise UsageError(f"there is no {name} here")
    options.mode = _NAMES.get(name, DELIVER)
    if name == "rmail":
        options.dot_ends = False
    words = arguments[1:]
    while words:
        word = words.pop(0)
        if word == "--":
            options.operands += words
            break
        if word.startswith("--"):
            _long(options, word, words)
        elif word.startswith("-") and len(word) > 1:
            _group(options, word[1:], words)
        else:
            options.operands.append(word)
    if options.operands and options.mode in (SMTP, FLUSH, NEWALIASES, NOTHING):
        raise UsageError(f"the mode {options.mode!r} takes no addresses")
    if options.mode == VERIFY and not options.operands:
        raise UsageError("-bv needs an address to verify")
    return options


def _long(options: Options, word: str, words: list[str]) -> None:
    name, equals, value = word.partition("=")
    if name in ("--version", "--help"):
        options.mode = name[2:]
        return
    if name not in ("--config", "--spool") and (name != "--format" or options.mode != LIST):
        raise UsageError(f"unknown option {name!a}")
    if not equals:
        if not words:
            raise UsageError(f"option {name} needs a value")
        value = words.pop(0)
    setattr(options, name[2:], value)


def _group(options: Options, group: str, words: list[str]) -> None:
    while group:
        letter, group = group[0], group[1:]
        if letter in _FLAGS:
            _flag(options, letter)
        elif letter in _GLUED:
            _glued(options, letter, group)
            return
        elif letter in _VALUES:
            if not group and not words:
                raise UsageError(f"option -{letter} needs a value")
            _valued(options, letter, group or words.pop(0))
            return
        else:
            raise UsageError(f"unknown option -{ascii(letter)[1:-1]}")


def _flag(options: Options, letter: str) -> None:
    if letter == "i":
        options.dot_ends = False
    elif letter == "t":
        options.from_header = True
    elif letter == "v":
        options.verbose = True
    elif letter == "G":
        options.passed_on = True
    elif letter == "I":
        options.mode = NEWALIASES


def _glued(options: Options, letter: str, value: str) -> None:
    if letter == "q":
        if value[:1] in tuple("IRS") and len(value) > 1:
            options.only = value
        elif value[:1] not in ("", "f") and not value[0].isdigit():
            raise UsageError(f"-q{ascii(value)[1:-1]} is not known here; -qI, -qR and -qS take a part of an id or address")
        options.mode = FLUSH
    elif letter == "d" and value.startswith("0.1"):
        options.mode = VERSION
    elif letter == "e":
        options.quiet = value == "q"


def _valued(options: Options, letter: str, value: str) -> None:
    if letter in "fr":
        options.sender = value
    elif letter == "F":
        options.full_name = value
    elif letter == "C":
        options.config = value
    elif letter == "o":
        if value.startswith("i"):
            options.dot_ends = False
        elif value.startswith("d"):
            options.at_once = _AT_ONCE.get(value[1:2], options.at_once)
        elif value.startswith("e"):
            options.quiet = value == "eq"
    elif letter == "b":
        _mode(options, value)
    elif letter == "B":
        if value.upper() not in ("7BIT", "8BITMIME", "BINARYMIME"):
            raise UsageError(f"-B takes 7BIT or 8BITMIME, not {value!a}")
    elif letter in "NRV":
        _dsn(options, letter, value)


def _mode(options: Options, value: str) -> None:
    if value not in _MODES:
        raise UsageError(_BAD_MODES.get(value, f"the mode -b{ascii(value)[1:-1]} is not known here"))
    if options.mode != VERSION:  # `-d0.1 -bv root` is how scripts ask which program this is
        options.mode = _MODES[value]


def _dsn(options: Options, letter: str, value: str) -> None:
    """-N, -R, -V: what the sender wants to be told (RFC 3461 section 4)."""
    if letter == "V":
        if not value or len(value) > 100 or not value.isascii() or not value.isprintable():
            raise UsageError("-V takes an envelope id of 1 to 100 printable characters")
        from smartrelay.submit.command import unxtext

        # sendmail 8 wants xtext, Postfix the plain form
        options.envid = unxtext(value) or value
    elif letter == "R":
        options.ret = value.upper()
        if options.ret not in ("FULL", "HDRS"):
            raise UsageError(f"-R takes full or hdrs, not {value!a}")
    else:
        options.notify = value.upper()
        if options.notify != "NEVER" and not all(word in ("SUCCESS", "FAILURE", "DELAY") for word in options.notify.split(",")):
            raise UsageError(f"-N takes never, or failure, delay and success with commas, not {value!a}")
