"""What the doctor says about hosts, by what they say of themselves."""

import os
from dataclasses import replace

import asyncssh
import pytest
import yaml

from greenlight.adapters.hosts.agent import machine
from greenlight.core.findings import Answer
from greenlight.core.settings import read_config
from greenlight.deploy.colours import Colour
from greenlight.deploy.fleet import FleetFile
from greenlight.deploy.ports import Gpu, HostFacts
from greenlight.entrypoints import doctor_hosts
from greenlight.entrypoints.doctor_hosts import judge, look_at_hosts

GB = 10**9
H200 = Gpu(
    name="NVIDIA H200", driver="580.159.03", memory_bytes=150 * GB, used_bytes=0,
    uncorrected_errors=0,
)  # fmt: skip
FACTS = HostFacts(
    python="3.11.7", disk_free=400 * GB, disk_total=500 * GB, clock_ahead_s=0.4,
    clock_within_s=0.1,
)  # fmt: skip


@pytest.fixture
def fleet(make_settings):
    path = make_settings().config_folder / "fleet.example.yaml"
    return read_config(path, FleetFile).fleets[0]


def said(fleet, *, declared=None, **facts):
    host = fleet.hosts[0].model_copy(update=declared or {})
    found = list(judge(fleet, host, replace(FACTS, **facts)))
    assert all(one.fix for one in found if one.answer is not Answer.OK)
    return {one.evidence.removeprefix("demo/local-1: "): one.answer for one in found}


def test_a_fit_host_without_a_gpu_is_two_lines(fleet):
    assert said(fleet) == {
        "answers, Python 3.11.7, 400 GB free of 500": Answer.OK,
        "clock +0.4 s from ours, to 0.1 s": Answer.OK,
    }


def test_a_full_disk_is_a_warning_and_a_wrong_clock_a_failure(fleet):
    found = said(fleet, disk_free=9 * GB, clock_ahead_s=-60.0)
    assert found == {
        "answers, Python 3.11.7, 9 GB free of 500": Answer.WARNING,
        "clock -60.0 s from ours, to 0.1 s": Answer.FAILED,
    }


def test_a_clock_that_a_slow_link_can_not_tell_is_not_called_wrong(fleet):
    assert Answer.FAILED not in said(fleet, clock_ahead_s=4.0, clock_within_s=3.0).values()


def test_a_stranger_on_the_port_of_a_slot_is_named(fleet):
    found = said(fleet, taken={Colour.GREEN: 8102})
    told = "nothing is deployed as green, but something listens on 8102"
    assert found[told] is Answer.FAILED


@pytest.mark.parametrize(
    ("facts", "host", "answer", "evidence"),
    [
        ({"gpus": (H200,)}, {"gpus": 1, "gpu_memory_gb": 140}, Answer.OK,
         "1 × NVIDIA H200, driver 580.159.03, 150 GB, no uncorrected error"),
        ({"gpus": (H200,)}, {}, Answer.OK,
         "1 × NVIDIA H200, driver 580.159.03, 150 GB, no uncorrected error"),
        ({}, {"gpus": 1}, Answer.FAILED, "GPUs: 0; fleet.yaml says 1"),
        ({"gpus": (H200,)}, {"gpus": 1, "gpu_memory_gb": 160}, Answer.FAILED,
         "150 GB on its GPUs, fleet.yaml says 160"),
        ({"gpus": (replace(H200, uncorrected_errors=3),)}, {"gpus": 1}, Answer.FAILED,
         "3 uncorrected memory errors"),
        ({"gpus": (replace(H200, uncorrected_errors=None, memory_bytes=None),)},
         {"gpus": 1, "gpu_memory_gb": 160}, Answer.OK,
         "1 × NVIDIA H200, driver 580.159.03, memory unknown, errors not counted"),
        ({"gpu_problem": "Driver/library version mismatch"}, {}, Answer.FAILED,
         "the GPU's driver doesn't answer: Driver/library version mismatch"),
    ],
)  # fmt: skip
def test_gpus_are_as_many_as_large_and_as_healthy_as_the_fleet_says(
    fleet, facts, host, answer, evidence
):
    assert said(fleet, declared=host, **facts)[evidence] is answer


def test_this_machines_gpus_are_judged_the_same_way(make_settings, monkeypatch):
    monkeypatch.setattr(doctor_hosts, "deployed_fleets", lambda _: [])
    monkeypatch.setattr(machine, "find_gpus", lambda: ([], "no devices were found"))
    told = next(look_at_hosts(make_settings()))
    assert told.answer is Answer.FAILED
    assert told.evidence == "this machine: the GPU's driver doesn't answer: no devices were found"


def smi(tmp_path, monkeypatch, script):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return machine.find_gpus()


def test_what_nvidia_smi_prints_is_read(tmp_path, monkeypatch):
    row = "NVIDIA H200, 580.159.03, 143771, 4, 0"
    other = "NVIDIA RTX A2000, 580.159.03, 6138, 300, [N/A]"
    found, problem = smi(tmp_path, monkeypatch, f"echo '{row}'; echo '{other}'")
    assert problem is None
    assert [Gpu(**one) for one in found] == [
        Gpu(name="NVIDIA H200", driver="580.159.03", memory_bytes=143771 << 20,
            used_bytes=4 << 20, uncorrected_errors=0),
        Gpu(name="NVIDIA RTX A2000", driver="580.159.03", memory_bytes=6138 << 20,
            used_bytes=300 << 20, uncorrected_errors=None),
    ]  # fmt: skip


def test_a_driver_that_fails_says_why_and_none_is_no_problem(tmp_path, monkeypatch):
    assert smi(tmp_path, monkeypatch, "echo 'version mismatch'; exit 18") == (
        [], "version mismatch",
    )  # fmt: skip
    monkeypatch.setenv("PATH", "/nowhere")
    assert machine.find_gpus() == ([], None)


def test_the_examples_hosts_are_nobodys_until_something_is_deployed_to_them(
    make_settings, monkeypatch
):
    monkeypatch.setattr(doctor_hosts, "deployed_fleets", lambda _: [])
    (told,) = look_at_hosts(make_settings())
    assert (told.answer, told.part) == (Answer.WARNING, "hosts")
    monkeypatch.setattr(doctor_hosts, "deployed_fleets", lambda _: ["simulated"])
    found = list(look_at_hosts(make_settings()))
    asked = {one.evidence.partition(":")[0] for one in found}
    assert asked == {"simulated/simulated-1", "simulated/simulated-2"}


def test_a_host_that_lacks_its_engine_or_is_away_does_not_hide_the_others(make_settings, tmp_path):
    settings = make_settings()
    slots = {"blue": {"port": 18101}, "green": {"port": 18102}}
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(tmp_path / "key"))
    (tmp_path / "known").write_text(f"127.0.0.1 {key.export_public_key().decode()}")
    far = {"user": "x", "port": 9, "known_hosts": str(tmp_path / "known")}
    ssh = {"runner": "ssh", "address": "127.0.0.1", "root": "/srv", "slots": slots}
    hosts = [
        {"name": "away", "ssh": far | {"key_file": str(tmp_path / "key")}} | ssh,
        {"name": "keyless", "ssh": far | {"key_file": "no-key"}} | ssh | {"address": "127.0.0.2"},
        {"name": "bare", "root": "hosts/bare",
         "slots": {"blue": {"port": 18103}, "green": {"port": 18104}}},
    ]  # fmt: skip
    engine = {"kind": "vllm", "launch": "process", "python": "/nowhere/python"}
    fleet = {"name": "mine", "model": "m", "engine": engine, "router": {"port": 18100},
             "hosts": hosts}  # fmt: skip
    config = settings.home / "config"
    config.mkdir(parents=True)
    (config / "fleet.yaml").write_text(yaml.safe_dump({"fleets": [fleet]}))
    found = list(look_at_hosts(settings))
    assert [one.answer for one in found] == [
        Answer.UNKNOWN, Answer.FAILED, Answer.OK, Answer.OK, Answer.FAILED,
    ]  # fmt: skip
    for name, one in zip(("away", "keyless", "bare", "bare", "bare"), found, strict=True):
        assert name in one.evidence
    assert "lacks /nowhere/python" in found[-1].evidence
