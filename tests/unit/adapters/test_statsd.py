"""What Airflow sends is counted; whatever else is sent changes nothing but a count of lines."""

import random
import socket
import threading

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from greenlight.adapters.statsd import OTHER, StatsdStore, load_mapping, parse_line
from greenlight.adapters.statsd_receiver import receive
from greenlight.core.errors import ConfigError
from greenlight.core.metrics import ForeignMetric
from greenlight.core.settings import PROJECT
from greenlight.testing.waiting import wait_for

SHIPPED = PROJECT / "monitoring/statsd/mapping.yaml"
SCHEDULER = ("airflow_heartbeats_total", "scheduler")


@pytest.fixture
def store():
    return StatsdStore(load_mapping(SHIPPED))


def samples(store):
    """Values by name and label values, read as Prometheus reads the page."""
    registry = CollectorRegistry()
    registry.register(type("Collector", (), {"collect": lambda _: store.collect()})())
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def outcomes(store):
    found = samples(store)
    return {
        key[1]: value for key, value in found.items()
        if key[0] == "greenlight_statsd_lines_total" and value
    }  # fmt: skip


def test_counters_add_up_and_begin_at_zero(store):
    assert samples(store)[SCHEDULER] == 0
    store.take(b"airflow.scheduler_heartbeat:1|c\nairflow.scheduler_heartbeat:2|c")
    assert samples(store)[SCHEDULER] == 3
    store.take(b"airflow.scheduler_heartbeat:1|c|@0.1")
    assert samples(store)[SCHEDULER] == 13


def test_gauges_are_the_last_value_and_move_by_a_sign(store):
    name = ("airflow_dag_import_errors",)
    assert name not in samples(store), "what was never said is not zero"
    store.take(b"airflow.dag_processing.import_errors:4|g")
    store.take(b"airflow.dag_processing.import_errors:-1|g")
    store.take(b"airflow.dag_processing.import_errors:+2|g")
    assert samples(store)[name] == 5


def test_timers_are_seconds_and_keep_the_tags_that_are_asked_for(store):
    line = b"airflow.dagrun.duration.success,dag_id=deploy,run_type=manual:%d|ms"
    store.take(line % 1500)
    store.take(line % 500)
    found = samples(store)
    assert found["airflow_dag_run_duration_seconds_sum", "deploy", "success"] == 2.0
    assert found["airflow_dag_run_duration_seconds_count", "deploy", "success"] == 2


def test_tags_that_nobody_asked_for_are_added_up(store):
    for task in (b"a", b"b"):
        store.take(b"airflow.ti.finish,dag_id=d,task_id=%b,state=success:1|c" % task)
    assert samples(store)["airflow_tasks_finished_total", "d", "success"] == 2


def test_a_flood_of_label_values_is_added_up_under_other(store):
    most = load_mapping(SHIPPED).at_most
    for number in range(most + 50):
        store.take(b"airflow.ti.finish,dag_id=d%d,state=failed:1|c" % number)
    found = [key for key in samples(store) if key[0] == "airflow_tasks_finished_total"]
    assert len(found) == most + 1
    assert samples(store)["airflow_tasks_finished_total", OTHER, OTHER] == 50
    assert outcomes(store) == {"kept": most, "folded": 50}
    store.take(b"airflow.ti.finish,dag_id=d0,state=failed:1|c")
    assert samples(store)["airflow_tasks_finished_total", "d0", "failed"] == 2


def test_a_value_that_is_too_long_or_not_to_be_shown_is_other(store):
    store.take(b"airflow.ti.finish,dag_id=%b,state=a\x07b:1|c" % (b"x" * 101))
    assert samples(store)["airflow_tasks_finished_total", OTHER, OTHER] == 1


def test_a_value_with_quotes_is_shown_as_it_is(store):
    store.take('airflow.ti.finish,dag_id=a"} 1\\,state=ü:1|c'.encode())
    assert samples(store)["airflow_tasks_finished_total", 'a"} 1\\', "ü"] == 1


@pytest.mark.parametrize(
    "line",
    [
        b"airflow.scheduler_heartbeat",
        b"airflow.scheduler_heartbeat:",
        b"airflow.scheduler_heartbeat:1",
        b"airflow.scheduler_heartbeat:|c",
        b"airflow.scheduler_heartbeat:one|c",
        b"airflow.scheduler_heartbeat:nan|c",
        b"airflow.scheduler_heartbeat:inf|c",
        b"airflow.scheduler_heartbeat:1e999|c",
        b"airflow.scheduler_heartbeat:1e13|c",
        b"airflow.scheduler_heartbeat:-1|c",
        b"airflow.scheduler_heartbeat:1|x",
        b"airflow.scheduler_heartbeat:1|g",
        b"airflow.scheduler_heartbeat:1|c|@0",
        b"airflow.scheduler_heartbeat:1|c|@2",
        b"airflow.scheduler_heartbeat:1|c|@nan",
        b"airflow.scheduler_heartbeat:1|c|#a:b",
        b"airflow.scheduler_heartbeat:1|c|@1|@1",
        b"airflow.scheduler_heartbeat,tag:1|c",
        b"airflow.scheduler_heartbeat,a=b=c:1|c",
        b"airflow.dagrun.duration.success,dag_id=d:-5|ms",
        b":1|c",
        b"\xff\xfe:1|c",
        b"\x00",
    ],
)
def test_a_line_that_is_no_measurement_is_counted_and_changes_nothing(store, line):
    before = {key: value for key, value in samples(store).items() if "lines" not in key[0]}
    store.take(line)
    assert outcomes(store) == {"malformed": 1}
    assert {k: v for k, v in samples(store).items() if "lines" not in k[0]} == before


def test_a_name_that_nobody_asked_for_is_counted_and_kept_nowhere(store):
    for number in range(1000):
        store.take(b"airflow.unknown_%d:1|c\nother.scheduler_heartbeat:1|c" % number)
    assert outcomes(store) == {"unmapped": 2000}
    assert len(samples(store)) < 20


def test_noise_never_stops_it(store):
    chance = random.Random(7)
    alphabet = b"airflow.ti_finsh,dag_id=:|c@01+-\n\x00\xff"
    for _ in range(3000):
        store.take(bytes(chance.choice(alphabet) for _ in range(chance.randrange(80))))
    store.take(b"airflow.scheduler_heartbeat:1|c")
    assert samples(store)[SCHEDULER] >= 1


def test_empty_lines_are_nothing(store):
    store.take(b"\n \n")
    assert outcomes(store) == {}
    assert parse_line(b"a:1|c") is not None


def test_datagrams_come_in_by_a_port_and_a_taken_port_is_an_error(store):
    port, stop = receive(store.take, address="127.0.0.1", port=0)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"airflow.scheduler_heartbeat:5|c", ("127.0.0.1", port))
        wait_for(lambda: samples(store)[SCHEDULER] == 5)
        with pytest.raises(OSError, match="in use"):
            receive(store.take, address="127.0.0.1", port=port)
    finally:
        stop()
    assert "statsd" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"name": "airflow_x"}, "must end in _total"),
        ({"name": "Other"}, "pattern"),
        ({"kind": "set"}, "kind"),
        ({"tags": ["dag-id"]}, "tags"),
        ({"more": 1}, "unknown key"),
    ],
)
def test_a_mapping_with_a_mistake_is_refused_by_name(tmp_path, change, named):
    metric = {"match": "m", "name": "airflow_m_total", "help": "h", "kind": "counter"} | change
    path = tmp_path / "mapping.yaml"
    path.write_text(yaml.safe_dump({"prefix": "airflow", "at_most": 9, "metrics": [metric]}))
    with pytest.raises(ConfigError, match=named):
        load_mapping(path)


@pytest.mark.parametrize(
    ("second", "named"),
    [
        ({"match": "m"}, "matched twice"),
        ({"match": "n", "tags": ["dag_id"]}, "two sets of labels"),
    ],
)
def test_two_metrics_that_contradict_each_other_are_refused(tmp_path, second, named):
    metric = {"match": "m", "name": "airflow_m_total", "help": "h", "kind": "counter"}
    path = tmp_path / "mapping.yaml"
    both = [metric, metric | second]
    path.write_text(yaml.safe_dump({"prefix": "airflow", "at_most": 9, "metrics": both}))
    with pytest.raises(ConfigError, match=named):
        load_mapping(path)


def test_what_alerts_ask_of_airflow_is_in_the_mapping():
    asked = {name for name in ForeignMetric if name.startswith("airflow_")}
    assert asked
    assert asked <= {one.name for one in load_mapping(SHIPPED).metrics}


def test_airflow_has_every_name_that_is_mapped():
    from airflow._shared.observability.metrics import metrics_registry

    known = metrics_registry.read_metrics_yaml(str(metrics_registry.YAML_REGISTRY_PATH))
    types = {one["name"]: one["type"] for one in known}
    kinds = {one.match: one.kind for one in load_mapping(SHIPPED).metrics}
    assert {match: types.get(match) for match in kinds} == kinds
