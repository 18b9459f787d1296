"""The health in the OpenMetrics text format, for scrapers and for node_exporter's textfile collector.

That collector reads the older Prometheus text format: it takes `# UNIT` and `# EOF` for comments, knows the types gauge and
counter, and wants no timestamps. So there is nothing else in here.
"""

from collections.abc import Iterable, Mapping

from smartrelay.cli.diagnosis import Diagnosis, age
from smartrelay.spool.census import Census
from smartrelay.spool.status_file import Status

_Labels = Mapping[str, str]


def text(found: Diagnosis) -> str:
    """All of it, with its end mark. Where nothing is known there is the state alone."""
    state = _family("smartrelay_health_state", "gauge", "0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN", [({}, found.state)])
    families = [state, *(_families(found.status, found.now) if found.status else ())]
    return "".join(families) + "# EOF\n"


def _families(status: Status, now: float) -> list[str]:
    totals, census = status.totals, status.messages
    groups = [({"state": name}, getattr(census, name)) for name in Census._fields]
    counts = [(labels, group.number) for labels, group in groups]
    ages = [(labels, age(group.oldest, now)) for labels, group in groups]
    relays = [({"relay": name}, 1) for name in dict.fromkeys(status.incidents.account.relays)]
    noted = [({"kind": kind}, found.number) for kind, found in status.incidents._asdict().items()]
    families = [
        _family("smartrelay_build_info", "gauge", "The version of the last pass", [({"version": status.version}, 1)]),
        _family("smartrelay_messages", "gauge", "Messages in each state", counts),
        _family("smartrelay_oldest_message_age_seconds", "gauge", "Age of the oldest message in each state", ages, "seconds"),
        _counter("delivered", "Recipients whose mail was delivered", totals.delivered),
        _counter("deferred", "Attempts for a recipient that were put off", totals.deferred),
        _counter("bounced", "Recipients whose mail failed for good", totals.bounced),
        _counter("expired", "Recipients whose mail was given up for its age", totals.expired),
        _time("last_pass", "When the last pass ended", status.time),
        _family(
            "smartrelay_last_pass_duration_seconds",
            "gauge",
            "How long the last pass took",
            [({}, max(0.0, status.time - status.start))],
            "seconds",
        ),
        _family("smartrelay_last_pass_result", "gauge", "How the last pass ended", [({"result": status.result}, 1)]),
        _family("smartrelay_incidents", "gauge", "What an operator must put right", noted),
        _family("smartrelay_bad_hosts", "gauge", "Hosts that cannot be spoken to", [({}, totals.bad_hosts)]),
        _family("smartrelay_offline", "gauge", "Whether the last pass had no way to some host", [({}, int(status.offline))]),
    ]
    if relays:
        families.append(_family("smartrelay_relay_locked_out", "gauge", "Relays that do not let us in", relays))
    if totals.success:
        families.append(_time("last_success", "When a pass delivered mail last", totals.success))
    if status.relays is not None:
        families.append(_family("smartrelay_relays", "gauge", "Relays that are configured", [({}, status.relays)]))
    if status.free is not None:
        families.append(_bytes("spool_free", "Room left for the spool", status.free))
    families.append(_bytes("spool_needed", "Room below which no mail is accepted", status.needed))
    return families


def _counter(name: str, explanation: str, value: int) -> str:
    head = _head(f"smartrelay_{name}", "counter", explanation, "")
    return f"{head}smartrelay_{name}_total {value}\n"


def _time(name: str, explanation: str, value: float) -> str:
    return _family(f"smartrelay_{name}_timestamp_seconds", "gauge", explanation, [({}, value)], "seconds")


def _bytes(name: str, explanation: str, value: int) -> str:
    return _family(f"smartrelay_{name}_bytes", "gauge", explanation, [({}, value)], "bytes")


def _family(name: str, kind: str, explanation: str, samples: Iterable[tuple[_Labels, float]], unit: str = "") -> str:
    rows = "".join(f"{name}{_labels(labels)} {_number(value)}\n" for labels, value in samples)
    return _head(name, kind, explanation, unit) + rows


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _head(name: str, kind: str, explanation: str, unit: str) -> str:
    head = f"# TYPE {name} {kind}\n"
    if unit:
        head += f"# UNIT {name} {unit}\n"
    return f"{head}# HELP {name} {explanation}.\n"


def _labels(labels: _Labels) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
