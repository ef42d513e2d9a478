"""Prometheus in docker-compose.yaml scrapes what the embedded one does, under the same names."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from greenlight.adapters.stack.monitoring import Monitoring
from greenlight.core.settings import PROJECT, Ports, Settings
from greenlight.core.types import JsonDict

SERVED = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())["services"]
FILE = PROJECT / "monitoring/prometheus/prometheus.yml"
ELASTIC = PROJECT / "monitoring/elastic"
HERE_ONLY = {"postgres", "redis", "gpu"}
"""What the embedded stack has no exporter for."""


def jobs(config: JsonDict) -> dict[str, JsonDict]:
    return {job["job_name"]: job for job in config["scrape_configs"]}


@pytest.fixture
def config() -> JsonDict:
    found: JsonDict = yaml.safe_load(FILE.read_text())
    return found


@pytest.fixture
def embedded(tmp_path: Path) -> JsonDict:
    monitoring = Monitoring(settings=Settings(home=tmp_path), ports=Ports(prometheus=1))
    monitoring.prepare()
    found: JsonDict = yaml.safe_load((monitoring.folder / "prometheus.yml").read_text())
    return found


def test_both_scrape_the_same_jobs_as_often(config: JsonDict, embedded: JsonDict) -> None:
    assert set(jobs(config)) - set(jobs(embedded)) == HERE_ONLY
    assert set(jobs(embedded)) - set(jobs(config)) == set()
    assert config["global"] == embedded["global"]
    both = [jobs(found)["fleet"]["relabel_configs"] for found in (config, embedded)]
    assert both[0] == both[1]


def test_every_target_is_a_service_of_the_file(config: JsonDict) -> None:
    targets = [
        target
        for job in config["scrape_configs"]
        for group in job.get("static_configs", [])
        for target in group["targets"]
    ]
    assert targets
    for target in targets:
        assert target.split(":")[0] in {*SERVED, "localhost"}, target


def test_what_is_in_a_profile_is_looked_up_and_never_a_target_that_is_down(
    config: JsonDict,
) -> None:
    in_profiles = {name for name, service in SERVED.items() if service.get("profiles")}
    for job in config["scrape_configs"]:
        fixed = [t for group in job.get("static_configs", []) for t in group["targets"]]
        assert not in_profiles & {target.split(":")[0] for target in fixed}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_accepts_the_file(tmp_path: Path) -> None:
    rules = PROJECT / "monitoring/prometheus/rules"
    config = tmp_path / "prometheus.yml"

    def check(text: str) -> int:
        config.write_text(text.replace("/etc/prometheus/rules", str(rules)))
        command = ["promtool", "check", "config", str(config)]
        return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode

    assert check(FILE.read_text()) == 0
    assert check(FILE.read_text().replace("http_sd_configs", "http_sd_config")) != 0


def test_grafanas_data_source_is_the_service_prometheus() -> None:
    path = PROJECT / "monitoring/grafana/provisioning/datasources/prometheus.yml"
    (source,) = yaml.safe_load(path.read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"


def test_filebeat_writes_where_the_template_and_the_lifecycle_apply() -> None:
    template = json.loads((ELASTIC / "index-template.json").read_text())
    policy = json.loads((ELASTIC / "ilm-policy.json").read_text())["policy"]
    beat = yaml.safe_load((ELASTIC / "filebeat.yml").read_text())
    prepare = (ELASTIC / "prepare").read_text()
    (pattern,) = template["index_patterns"]
    assert beat["output.elasticsearch"]["index"].startswith(pattern.removesuffix("*"))
    settings = template["template"]["settings"]
    assert f"_ilm/policy/{settings['index.lifecycle.name']} " in prepare
    assert f"_ingest/pipeline/{settings['index.default_pipeline']} " in prepare
    assert {"hot", "delete"} == set(policy["phases"])
    assert beat["output.elasticsearch"]["username"] in prepare


def test_what_no_log_should_hold_is_dropped_on_the_way() -> None:
    pipeline = json.loads((ELASTIC / "ingest-pipeline.json").read_text())
    removed = {f for p in pipeline["processors"] for f in p.get("remove", {}).get("field", [])}
    secret = ("prompt", "messages", "authorization", "password")
    assert {f"json.{name}" for name in secret} <= removed
