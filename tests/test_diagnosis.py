"""What is healthy and what is not, and how it is said to people and to monitoring systems."""

import re
from typing import Any

import pytest
from hypothesis import given
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_prometheus

from smartrelay.cli import nagios, openmetrics
from smartrelay.cli.diagnosis import CRITICAL, OK, UNKNOWN, WARNING, Diagnosis, Thresholds, diagnose, unknown
from smartrelay.spool.census import Census, Group
from smartrelay.spool.status_file import Incidents, Noted, Status
from smartrelay.spool.totals import DONE, FAILED, IDLE, MISCONFIGURED, OFFLINE, RUNNING, STOPPED, Totals, Work
from tests.support.queues import few
from tests.test_status_file import statuses

NOW = 1_800_000_000.0
HOUR = 3600.0


def some(**more: Any) -> Status:
    """A healthy status."""
    totals = Totals(25, 4, 2, 1, NOW - 120, 0, 0.0, Work(NOW - 121, NOW - 120, DONE, delivered=1))
    return Status("0.1", NOW - 30, NOW - 30, IDLE, totals, Census(), Incidents(), 2, False, 10**9, 10**8)._replace(**more)


def waiting(number: int, age: float = 0.0) -> Census:
    return Census(deferred=Group(number, NOW - age))


def worked(result: str) -> Totals:
    return Totals(work=Work(NOW - 121, NOW - 120, result))


def account(*names: str, number: int = 0) -> Incidents:
    return Incidents(account=Noted(number or len(names), NOW - 60, names))


@pytest.mark.parametrize(
    ("status", "state", "words"),
    [
        (some(), OK, ""),
        (some(messages=waiting(99, 3.9 * HOUR)), OK, ""),
        (some(messages=waiting(100)), WARNING, "100 messages wait"),
        (some(messages=waiting(1000)), CRITICAL, "1000 messages wait"),
        (some(messages=waiting(1, 4 * HOUR)), WARNING, "the oldest message waits for 4h"),
        (some(messages=waiting(1, 24 * HOUR)), CRITICAL, "the oldest message waits for 1d"),
        (some(messages=Census(new=Group(50, NOW), due=Group(50, NOW))), WARNING, "100 messages wait"),
        (some(messages=Census(due=Group(1, NOW - 5 * HOUR))), WARNING, "the oldest message waits for 5h"),
        (some(messages=Census(held=Group(5000, 0.0))), OK, ""),
        (some(messages=Census(corrupt=Group(1, NOW))), WARNING, "1 message could not be read"),
        (some(messages=waiting(1, -HOUR)), OK, ""),
        (some(relays=0), CRITICAL, "no relay is configured"),
        (some(relays=None), OK, ""),
        (some(result=MISCONFIGURED), CRITICAL, "the configuration cannot be used"),
        (some(totals=worked(MISCONFIGURED)), CRITICAL, "the configuration cannot be used"),
        (some(result=RUNNING, totals=worked(MISCONFIGURED)), OK, ""),
        (some(incidents=Incidents(configuration=Noted(1, NOW))), CRITICAL, "the configuration cannot be used"),
        (some(result=FAILED), CRITICAL, "the spool cannot be written"),
        (some(totals=worked(FAILED)), CRITICAL, "the spool cannot be written"),
        (some(result=DONE, totals=worked(DONE)), OK, ""),
        (some(result=STOPPED), OK, ""),
        (some(result=OFFLINE, offline=True), OK, ""),
        (some(free=10**8 - 1), CRITICAL, "the spool is full, no mail is accepted: 95M are free, and min_free_space is 95M"),
        (some(free=10**8), OK, ""),
        (some(free=None), OK, ""),
        (some(incidents=account("work")), CRITICAL, "relay work does not let us in"),
        (some(incidents=account("work", "home")), CRITICAL, "relays work, home do not let us in"),
        (some(incidents=account("work", "home", number=30)), CRITICAL, "relays work, home and 28 more do not let us in"),
        (some(incidents=Incidents(doubt=Noted(1, NOW))), WARNING, "1 message in doubt for the third time or more"),
        (some(time=NOW - 600), OK, ""),
        (some(time=NOW - 601), UNKNOWN, "the last pass was 10m ago"),
        (some(time=NOW - 601, relays=0), UNKNOWN, "the last pass was 10m ago"),
        (some(time=NOW + 299), OK, ""),
        (some(time=NOW + 301), UNKNOWN, "from a time to come, in 5m"),
    ],
)
def test_each_condition_has_its_state_and_its_sentence(status: Status, state: int, words: str) -> None:
    """Law 10: a message in doubt for the third time is a warning; law 5: an account that is refused is shouted."""
    found = diagnose(status, Thresholds(), NOW)
    assert found.state == state
    assert words in "; ".join(found.problems) and bool(found.problems) == (state != OK)


def test_the_worst_comes_first_and_counts() -> None:
    status = some(messages=Census(deferred=Group(100, NOW), corrupt=Group(2, NOW)), incidents=account("work"))
    found = diagnose(status, Thresholds(), NOW)
    assert found.state == CRITICAL
    assert [sentence.split()[0] for sentence in found.problems] == ["relay", "100", "2"]


def test_thresholds_are_as_they_are_set() -> None:
    status = some(messages=waiting(5, 100))
    for limits, state in (
        (Thresholds(warn_queue=5), WARNING),
        (Thresholds(crit_queue=5), CRITICAL),
        (Thresholds(warn_age=100), WARNING),
        (Thresholds(crit_age=100), CRITICAL),
        (Thresholds(max_age=29), UNKNOWN),
    ):
        assert diagnose(status, limits, NOW).state == state


LABEL = r"[a-z_]+=-?[0-9.]+(?:s|B|c)?(?:;[0-9.]*;[0-9.:]*;0)?"


def said(status: Status) -> str:
    limits = Thresholds()
    return nagios.line(diagnose(status, limits, NOW), limits)


def test_the_line_of_a_healthy_machine() -> None:
    status = some(messages=waiting(3, 720)._replace(held=Group(1, NOW)))
    assert said(status) == (
        "SMARTRELAY OK - 3 messages waiting, the oldest for 12m, 1 held, last delivery 2m ago"
        " | queue=3;100;1000;0 oldest=720s;14400;86400;0 new=0;;;0 due=0;;;0 deferred=3;;;0 held=1;;;0 corrupt=0;;;0"
        " delivered_total=25c deferred_total=4c bounced_total=2c expired_total=1c"
        " bad_hosts=0;;;0 free=1000000000B;;100000000:;0"
    )


def test_the_line_of_a_machine_in_trouble_says_why_first() -> None:
    line = said(some(messages=waiting(1, 5 * HOUR), incidents=account("a|b"), offline=True, totals=Totals()))
    assert line.startswith(
        "SMARTRELAY CRITICAL - relay a/b does not let us in, so mail waits; the oldest message waits for 5h "
        "(1 message waiting, the oldest for 5h, offline, no delivery yet) | queue=1;"
    )


def test_where_nothing_is_known_there_is_no_performance_data() -> None:
    assert nagios.line(unknown("there is no status file", NOW), Thresholds()) == "SMARTRELAY UNKNOWN - there is no status file"


@given(statuses)
@few
def test_any_line_is_one_that_monitoring_reads(status: Status) -> None:
    text, bar, performance = said(status).partition(" | ")
    assert re.match("SMARTRELAY (OK|WARNING|CRITICAL|UNKNOWN) - .", text)
    assert bar and "|" not in text + performance and "\n" not in text
    assert all(re.fullmatch(LABEL, each) for each in performance.split(" ")), performance


@given(statuses)
@few
def test_prometheus_reads_any_health_in_either_format(status: Status) -> None:
    """The parser is strict: types, units, names of counters, the end mark. node_exporter's textfile collector reads the older
    format, refuses timestamps, and knows no type but these."""
    found = diagnose(status, Thresholds(), NOW)
    text = openmetrics.text(found)
    families = {family.name: family for family in read_openmetrics(text)}
    assert {family.type for family in families.values()} <= {"gauge", "counter"}
    assert all(family.documentation for family in families.values())
    assert all(sample.timestamp is None for family in families.values() for sample in family.samples)
    assert text.endswith("\n# EOF\n")
    older = {sample.name: sample.value for family in read_prometheus(text) for sample in family.samples}
    newer = {sample.name: sample.value for family in families.values() for sample in family.samples}
    assert older == newer and len(newer) >= 15


def values(found: Diagnosis) -> dict[str, float]:
    samples = [sample for family in read_openmetrics(openmetrics.text(found)) for sample in family.samples]
    return {" ".join([sample.name, *sample.labels.values()]): sample.value for sample in samples}


def test_the_metrics_say_what_the_status_says() -> None:
    status = some(
        messages=Census(deferred=Group(3, NOW - 720.5), held=Group(1, NOW)),
        incidents=account('a"\\b'),
        result=OFFLINE,
        offline=True,
    )
    found = values(diagnose(status, Thresholds(), NOW))
    expected = {
        "smartrelay_health_state": 2,
        "smartrelay_build_info 0.1": 1,
        "smartrelay_messages deferred": 3,
        "smartrelay_messages held": 1,
        "smartrelay_messages new": 0,
        "smartrelay_oldest_message_age_seconds deferred": 720.5,
        "smartrelay_delivered_total": 25,
        "smartrelay_deferred_total": 4,
        "smartrelay_bounced_total": 2,
        "smartrelay_expired_total": 1,
        "smartrelay_last_pass_timestamp_seconds": NOW - 30,
        "smartrelay_last_pass_result offline": 1,
        "smartrelay_last_success_timestamp_seconds": NOW - 120,
        "smartrelay_incidents account": 1,
        "smartrelay_incidents doubt": 0,
        'smartrelay_relay_locked_out a"\\b': 1,
        "smartrelay_offline": 1,
        "smartrelay_relays": 2,
        "smartrelay_spool_free_bytes": 10**9,
    }
    assert {name: found[name] for name in expected} == expected


def test_where_nothing_is_known_the_state_is_told_all_the_same() -> None:
    assert values(unknown("there is no status file", NOW)) == {"smartrelay_health_state": UNKNOWN}
