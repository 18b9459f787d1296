"""The sendmail command line, row by row as the checklist (group D) has it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartrelay.errors import EX_USAGE, UsageError
from smartrelay.smtp.dialogue import xtext
from smartrelay.submit import options as words
from smartrelay.submit.options import Options, parse
from tests.support.queues import many


def of(*arguments: str, name: str = "/usr/sbin/sendmail") -> dict[str, Any]:
    """What differs from a command line without any option."""
    options, plain = parse([name, *arguments]), Options()
    return {slot: getattr(options, slot) for slot in Options.__slots__ if getattr(options, slot) != getattr(plain, slot)}


def refused(*arguments: str, name: str = "sendmail") -> str:
    with pytest.raises(UsageError) as caught:
        parse([name, *arguments])
    assert caught.value.exit_code == EX_USAGE
    message = str(caught.value)
    assert message.isascii() and message.isprintable()
    return message


NOBODY: dict[str, Any] = {}
NO_DOT = {"dot_ends": False}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-t"], {"from_header": True}),  # D-001
        (["-i"], NO_DOT),  # D-002
        (["-oi"], NO_DOT),
        (["-oitrue"], NO_DOT),  # D-003
        (["-oi=yes"], NO_DOT),
        (["-ti"], {"from_header": True, **NO_DOT}),  # D-004
        (["-tiv"], {"from_header": True, "verbose": True, **NO_DOT}),
        (["-f", "s@a"], {"sender": "s@a"}),  # D-005
        (["-fs@a"], {"sender": "s@a"}),
        (["-f", ""], {"sender": ""}),
        (["-f", "<>"], {"sender": "<>"}),
        (["-r", "s@a"], {"sender": "s@a"}),  # D-006
        (["-F", "Cron Daemon"], {"full_name": "Cron Daemon"}),  # D-007
        (["-FCronDaemon"], {"full_name": "CronDaemon"}),
        (["-N", "never"], {"notify": "NEVER"}),  # D-008
        (["-Nfailure,Delay,SUCCESS"], {"notify": "FAILURE,DELAY,SUCCESS"}),
        (["-R", "full"], {"ret": "FULL"}),  # D-009
        (["-RHdrs"], {"ret": "HDRS"}),
        (["-V", "abc d"], {"envid": "abc d"}),  # D-010: Postfix's plain form
        (["-V", "abc+20d"], {"envid": "abc d"}),  # sendmail's xtext: the same id
        (["-V", "a+b"], {"envid": "a+b"}),
        (["-V", "a+0Ab"], {"envid": "a+0Ab"}),  # a control that was encoded stays so
        (["-B", "8BITMIME"], NOBODY),  # D-011
        (["-B8bitmime"], NOBODY),
        (["-B", "7BIT"], NOBODY),
        (["-bm"], NOBODY),  # D-012
        (["-bs"], {"mode": words.SMTP}),  # D-013
        (["-bp"], {"mode": words.LIST}),  # D-014
        (["-b", "p"], {"mode": words.LIST}),
        (["-bi"], {"mode": words.NEWALIASES}),  # D-015
        (["-I"], {"mode": words.NEWALIASES}),
        (["-bh"], {"mode": words.NOTHING}),  # D-019
        (["-bH"], {"mode": words.NOTHING}),
        (["-q"], {"mode": words.FLUSH}),  # D-021
        (["-q15m"], {"mode": words.FLUSH}),  # D-022
        (["-q30s"], {"mode": words.FLUSH}),
        (["-qf"], {"mode": words.FLUSH}),  # D-024
        *[([f"-q{part}"], {"mode": words.FLUSH, "only": part}) for part in ("I25X0", "Rexample.org", "Sme@a")],  # D-023
        (["-bv", "a@x", "root"], {"mode": words.VERIFY, "operands": ["a@x", "root"]}),  # D-016
        (["-v"], {"verbose": True}),  # D-025
        *[([mode], {"at_once": True}) for mode in ("-odi", "-odf", "-odinteractive")],  # D-026
        *[([mode], {"at_once": False}) for mode in ("-odb", "-odq", "-odd")],
        (["-odx"], NOBODY),
        (["-odi", "-odq"], {"at_once": False}),
        (["-odq", "-o", "di"], {"at_once": True}),
        *[([mode], NOBODY) for mode in ("-oem", "-em", "-oep", "-ep", "-oew", "-ew", "-oee", "-ee")],  # D-027 D-028
        *[([mode], {"quiet": True}) for mode in ("-oeq", "-eq")],  # D-028 D-148
        (["-eq", "-em"], NOBODY),
        *[
            ([mode], NOBODY) for mode in ("-om", "-m", "-oo", "-o7", "-o8", "-os", "-or0s", "-or2h", "-oXlog", "-oA/aliases")
        ],  # D-029 D-030
        (["-o", "em", "r@x"], {"operands": ["r@x"]}),
        (["-O", "DeliveryMode=q", "r@x"], {"operands": ["r@x"]}),  # D-031
        (["-ORequireTLS=yes"], NOBODY),
        (["-C", "/my.toml"], {"config": "/my.toml"}),  # D-032
        (["-X", "/tmp/log", "r@x"], {"operands": ["r@x"]}),  # D-033
        (["-L", "tag", "r@x"], {"operands": ["r@x"]}),  # D-034
        (["-h", "17", "r@x"], {"operands": ["r@x"]}),  # D-035
        (["-hmany", "r@x"], {"operands": ["r@x"]}),
        (["-G"], {"passed_on": True}),  # D-036
        (["-U", "-n"], NOBODY),  # D-037 D-039
        (["-Ac"], NOBODY),  # D-038
        (["-Am"], NOBODY),
        (["-p", "SMTP:host", "r@x"], {"operands": ["r@x"]}),  # D-040
        (["-x", "-c", "-s", "-E", "-J"], NOBODY),  # D-041
        (["-T", "r@x"], {"operands": ["r@x"]}),  # D-042
        (["-T30"], NOBODY),
        (["-d8.7", "r@x"], {"operands": ["r@x"]}),  # D-043
        (["-d", "r@x"], {"operands": ["r@x"]}),
        (["-d0.1"], {"mode": words.VERSION}),
        (["-d0.1", "-bv", "root"], {"mode": words.VERSION, "operands": ["root"]}),
        (["-bv", "-d0.1", "root"], {"mode": words.VERSION, "operands": ["root"]}),
        (["-d", "-bp"], {"mode": words.LIST}),
        (["--", "-x@a", "-t"], {"operands": ["-x@a", "-t"]}),  # D-044
        (["--help"], {"mode": words.HELP}),  # D-046
        (["--version"], {"mode": words.VERSION}),
        (["--config", "/c", "--spool=/s", "r@x"], {"config": "/c", "spool": "/s", "operands": ["r@x"]}),
        (["-tfs@a"], {"from_header": True, "sender": "s@a"}),  # D-060
        (["-tf", "s@a"], {"from_header": True, "sender": "s@a"}),
        (["root", "-t", "-i"], {"operands": ["root"], "from_header": True, **NO_DOT}),  # D-062
        (["-f", "-x@a.example", "r"], {"sender": "-x@a.example", "operands": ["r"]}),  # D-063
        (["-f", "a@x", "-f", "b@x"], {"sender": "b@x"}),  # D-078
        (["-"], {"operands": ["-"]}),
        ([""], {"operands": [""]}),
        (["-bp", "-v"], {"mode": words.LIST, "verbose": True}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_each_option_means_what_the_checklist_says(arguments: list[str], expected: dict[str, Any]) -> None:
    assert of(*arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-i", "-FCronDaemon", "-odi", "-oem", "-oi", "-t", "-f", "root"],  # D-121 cronie
         {"full_name": "CronDaemon", "from_header": True, "sender": "root", "at_once": True, **NO_DOT}),
        (["-i", "-FCronDaemon", "-B8BITMIME", "-oem", "root"],  # D-122 Debian's cron
         {"full_name": "CronDaemon", "operands": ["root"], **NO_DOT}),
        (["-FCronDaemon", "-odi", "-oem", "-oi", "-t", "-or0s"],  # D-123 BSD's cron
         {"full_name": "CronDaemon", "from_header": True, "at_once": True, **NO_DOT}),
        (["-i", "-B", "8BITMIME", "u@x"], {"operands": ["u@x"], **NO_DOT}),  # D-124 systemd-cron
        (["-FAnacron", "-odi", "root"], {"full_name": "Anacron", "at_once": True, "operands": ["root"]}),  # D-125 anacron
        (["-t", "-i", "-fwww@x"], {"from_header": True, "sender": "www@x", **NO_DOT}),  # D-120 PHP
    ],
)  # fmt: skip
def test_what_well_known_callers_say(arguments: list[str], expected: dict[str, Any]) -> None:
    assert of(*arguments) == expected


@pytest.mark.parametrize(("option", "value"), [("-N", "sometimes"), ("-R", "half"), ("-B", "9bit")])
def test_what_is_refused_is_shown_as_it_was_written(option: str, value: str) -> None:  # D-101
    with pytest.raises(UsageError, match=f"not '{value}'"):
        of(option, value)


@pytest.mark.parametrize(
    "arguments",
    [
        ["-N", "sometimes"],  # D-008
        ["-N", "never,failure"],
        ["-N", ""],
        ["-R", "body"],  # D-009
        ["-V", ""],  # D-010
        ["-V", "x" * 101],
        ["-V", "a\tb"],
        ["-B", "9BIT"],  # D-011
        ["-bs", "a@x"],  # D-013: the recipients come by SMTP
        ["-bv"],
        ["-bt"],  # D-017
        ["-bd"],  # D-018
        ["-bD"],
        ["-bl"],
        ["-bP"],  # D-019
        ["-ba"],  # D-020
        ["-bz"],
        ["-b"],
        ["-b", ""],
        ["-q", "root"],  # D-061: -q takes no word, and a flush no recipient
        ["-qR"],  # D-023
        ["-qQx"],
        ["-q!I1"],
        ["-qRx", "root"],
        ["-qG"],  # D-024
        ["-qp"],
        ["-qL"],
        ["-qQ"],
        ["-M", "x"],  # D-041
        ["-Q"],
        ["-D", "x"],
        ["-S"],
        ["-z"],
        ["-k"],  # D-045
        ["-\x1b"],
        ["-\udcff"],
        ["--frob"],
        ["--config"],
        ["-f"],
        ["-tf"],
        ["-F"],
        ["-o"],
        ["-Nfailure,\x1b"],
    ],
    ids=ascii,
)
def test_what_makes_no_sense_is_64_with_a_sentence(arguments: list[str]) -> None:  # D-045 D-101
    assert refused(*arguments)


def test_a_daemon_is_refused_with_what_to_do_instead() -> None:  # D-018
    assert "timer" in refused("-bd", "-q15m")


@pytest.mark.parametrize(
    ("name", "expected"),
    [  # D-064
        ("mailq", {"mode": words.LIST}),
        ("/usr/bin/mailq", {"mode": words.LIST}),
        ("newaliases", {"mode": words.NEWALIASES}),
        ("runq", {"mode": words.FLUSH}),
        ("rmail", NO_DOT),
        ("hoststat", {"mode": words.NOTHING}),
        ("purgestat", {"mode": words.NOTHING}),
        ("send-mail", NOBODY),
        ("sendmail.smartrelay", NOBODY),
        ("smartrelay-sendmail", NOBODY),
        ("", NOBODY),
    ],
)
def test_the_name_of_the_program_chooses_what_it_is(name: str, expected: dict[str, Any]) -> None:  # D-064
    assert of(name=name) == expected


def test_options_override_the_name() -> None:  # D-064
    assert of("-bp", name="newaliases") == {"mode": words.LIST}
    assert of("-bm", name="mailq") == NOBODY


def test_a_listing_can_have_another_layout_and_nothing_else_can() -> None:  # D-014
    assert of("--format", "sendmail", name="mailq") == {"mode": words.LIST, "format": "sendmail"}
    assert of("-bp", "--format=postfix") == {"mode": words.LIST, "format": "postfix"}
    assert "--format" in refused("--format", "sendmail")
    assert "needs a value" in refused("--format", name="mailq")


def test_servers_are_not_played() -> None:  # D-064
    for name in ("smtpd", "/usr/libexec/rsmtp"):
        assert refused(name=name)


def test_a_call_without_any_name_is_a_plain_one() -> None:  # D-087
    assert parse([]).mode == words.DELIVER


@many
@given(st.lists(st.text(st.sampled_from("-tifFrNRVBboqdeTvxcsOAhLXpCGUnmIEJ s@x,=\x00\udcff0"), max_size=6), max_size=5))
def test_any_command_line_is_understood_or_refused(arguments: list[str]) -> None:  # D-045
    try:
        options = parse(["sendmail", *arguments])
    except UsageError:
        return
    # an address is never made up, and none is swallowed but as a value
    assert all(operand in arguments for operand in options.operands)


@many
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=60))
def test_an_envelope_id_means_the_same_in_both_forms(text: str) -> None:  # D-010 A-110
    assert of("-V", xtext(text)[:100]).get("envid") == text or len(xtext(text)) > 100
