import pytest
import yaml

from greenlight.core.errors import ConfigError
from greenlight.core.settings import PROJECT
from greenlight.deploy.colours import Colour
from greenlight.deploy.engines import EngineProfile
from greenlight.deploy.fleet import Fleet, load_fleet

EXAMPLE = PROJECT / "include/config/fleet.example.yaml"
GB = 2**30


def a_host(name="a", *, ports=(8001, 8002), **changes):
    slots = {"blue": {"port": ports[0]}, "green": {"port": ports[1]}}
    return {"name": name, "root": "r", "slots": slots} | changes


def a_fleet(**changes):
    return {
        "name": "f",
        "model": "m",
        "engine": {"kind": "simulator"},
        "router": {"port": 8000},
        "hosts": [a_host()],
    } | changes


def write(tmp_path, *fleets):
    file = tmp_path / "fleet.yaml"
    file.write_text(yaml.safe_dump({"fleets": list(fleets)}))
    return file


@pytest.mark.parametrize("name", ["demo", "simulated"])
def test_the_example_is_right(name):
    assert load_fleet(EXAMPLE, name).name == name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"colour": "pink"}, "unknown key 'fleets.0.colour'"),
        ({"hosts": [a_host(gpu="1")]}, "unknown key 'fleets.0.hosts.0.gpu'"),
        ({"hosts": []}, "hosts"),
        ({"hosts": [a_host(), a_host(ports=(8003, 8004))]}, "2 hosts are named 'a'"),
        ({"hosts": [a_host(), a_host("b")]}, "127.0.0.1:8001 is used 2 times"),
        ({"hosts": [a_host(ports=(8001, 8001))]}, "both have port 8001"),
        ({"router": {"port": 8001}}, "127.0.0.1:8001 is used 2 times"),
        ({"name": "backup"}, "a fleet cannot be named 'backup'"),
        ({"hosts": [a_host(runner="ssh", root="/r")]}, "runner ssh needs the key ssh"),
        ({"engine": {"kind": "simulator", "drain_s": 9, "shutdown_s": 8}}, "shorter than drain_s"),
        ({"engine": {"kind": "vllm", "launch": "docker"}}, "docker needs an image"),
        ({"engine": {"kind": "vllm-cpu", "launch": "systemd"}}, "launched as a process"),
    ],
)
def test_a_mistake_is_refused_with_its_key_and_reason(tmp_path, change, said):
    with pytest.raises(ConfigError) as refused:
        load_fleet(write(tmp_path, a_fleet(**change)), "f")
    assert said in str(refused.value)


def test_an_unknown_fleet_names_those_there_are(tmp_path):
    with pytest.raises(ConfigError, match=r"no fleet named 'g'; there are f"):
        load_fleet(write(tmp_path, a_fleet()), "g")


def test_two_fleets_of_one_name_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="two fleets are named f"):
        load_fleet(write(tmp_path, a_fleet(), a_fleet()), "f")


def test_flags_have_a_digest_and_where_it_runs_does_not_count():
    plain = EngineProfile(kind="vllm-cpu", flags={"max-model-len": 1024})
    assert plain.digest == plain.model_copy(update={"python": "/other", "threads": 4}).digest
    told = {"otlp_traces_endpoint": "http://c:4318/v1/traces"}
    assert plain.digest == plain.model_copy(update=told).digest
    assert plain.digest != plain.model_copy(update={"flags": {"max-model-len": 2048}}).digest


@pytest.mark.parametrize(
    ("green", "blue", "memory_gb", "fits"),
    [(3 * GB, 3 * GB, 8, True), (3 * GB, 3 * GB, 7, False), (3 * GB, None, 4, True),
     (4 * GB, None, 4, False), (90 * GB, 90 * GB, None, True)],
)  # fmt: skip
def test_weights_and_cache_of_both_colours_must_fit(green, blue, memory_gb, fits):
    engine = {"kind": "simulator", "kv_cache_gb": 1}
    fleet = Fleet.model_validate(a_fleet(engine=engine, hosts=[a_host(gpu_memory_gb=memory_gb)]))
    reason = fleet.too_small_for_both(green_bytes=green, blue_bytes=blue)
    assert (reason is None) is fits


def test_the_other_colour_is_the_idle_one():
    assert [colour.other for colour in Colour] == [Colour.GREEN, Colour.BLUE]
