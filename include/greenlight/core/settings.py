"""Where things are and which choices the operator made: typed, checked at start.

Values come from the environment (`GREENLIGHT_…`), over a YAML file, over the defaults. The file is
`GREENLIGHT_CONFIG`, else `config.yaml` in `GREENLIGHT_HOME`, and may be absent. An unknown key is
refused, in the file and in the environment. `include/config/greenlight.example.yaml` documents
every key. This is the only module that reads the environment.

An address that holds a password may be in a file of its own, which `GREENLIGHT_…_FILE` names: an
environment is shown by `docker inspect`, and passed on to every child.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import Field, ValidationError, field_validator

from greenlight.core.errors import ConfigError
from greenlight.core.types import JsonDict, Value

PROJECT = Path(__file__).resolve().parents[3]
PREFIX = "GREENLIGHT_"
CONFIG_VARIABLE = "GREENLIGHT_CONFIG"
Config = TypeVar("Config", bound=Value)
SETUP_VARIABLES = frozenset({"GREENLIGHT_TORCH_BACKEND"})
"""Variables of `scripts/setup`, which may stay set in a shell."""
COMPOSE_VARIABLES = frozenset(
    f"{PREFIX}{name}"
    for name in (
        "SECRETS", "CONFIG_FILES", "UID", "GID", "AIRFLOW_PORT", "EDGE_PORT", "WORKER_QUEUES",
        "DATA_INTERNAL", "VERSION",
    )
)  # fmt: skip
"""Variables of docker-compose.yaml, which may stay set too."""
IN_FILES = frozenset({f"{PREFIX}DATABASE_URL", f"{PREFIX}SUPERUSER_URL"})
"""Variables that hold a password: each may be in a file, which the same name with `_FILE` names."""

Port = Annotated[int, Field(ge=0, le=65535)]
"""0 asks the kernel for a free port."""


class Ports(Value):
    """Ports of the embedded stack, all on loopback. 0: a free one, kept once chosen."""

    airflow: Port = 0
    mlflow: Port = 0
    postgres: Port = 0
    redis: Port = 0
    gateway: Port = 0
    gateway_metrics: Port = 0
    edge: Port = 0
    prometheus: Port = 0
    alertmanager: Port = 0
    node_exporter: Port = 0
    exporter: Port = 0
    store_a: Port = 0
    store_b: Port = 0


class Settings(Value):
    """Everything an operator can choose. Paths are absolute: relative ones start at the project."""

    home: Path
    """State of the embedded stack and of the work: nothing is written anywhere else."""
    project: Path = PROJECT
    ports: Ports = Ports()
    database_url: str | None = None
    """Greenlight's database; none: the embedded stack's."""
    superuser_url: str | None = None
    """The same server as its superuser, for backups; none: the embedded stack's."""
    mlflow_url: str | None = None
    """The tracking server; none: the embedded stack's."""
    mlflow_ui_url: str | None = None
    """Where people reach it, for links; none: as `mlflow_url`."""
    airflow_url: str | None = None
    """Airflow's API; none: the embedded stack's."""
    prometheus_url: str | None = None
    """Prometheus; none: the embedded stack's."""
    alertmanager_url: str | None = None
    """Alertmanager; none: the embedded stack's."""
    ml_python: Path = PROJECT / ".venv-ml/bin/python"
    autogptq_python: Path = PROJECT / ".venv-autogptq/bin/python"
    serve_python: Path = PROJECT / ".venv-serve/bin/python"
    job_timeout_s: Annotated[float, Field(gt=0)] = 6 * 3600
    heartbeat_timeout_s: Annotated[float, Field(gt=0)] = 600
    """A job that reports nothing for this long is ended: it hangs."""
    licences: tuple[str, ...] = ("apache-2.0", "mit", "bsd-3-clause")
    """SPDX identifiers, lower case, of models that may enter."""
    approval_hours: Annotated[float, Field(gt=0)] = 72
    """How long the approval task waits for an answer."""
    evidence_days: Annotated[float, Field(gt=0)] = 30
    """An approval lapses when its evidence is older than this."""
    hub_enabled: bool = False
    """Allow `hf://` model sources, which are downloaded from the Hugging Face Hub."""
    secrets_folder: Path | None = None
    """Where secrets are, one file each; none: `secrets` in the home."""
    aws_secrets: str | None = None
    """The gateway's secrets are in AWS Secrets Manager under this prefix; none: in files."""

    @field_validator("ml_python", "autogptq_python", "serve_python", "secrets_folder")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return PROJECT / path.expanduser() if path else None

    @property
    def config_folder(self) -> Path:
        """The example YAML files that ship with the project."""
        return self.project / "include/config"

    def config_file(self, name: str) -> Path:
        """Return `config/NAME.yaml` of the home, else the example that ships with the project."""
        own = self.home / "config" / f"{name}.yaml"
        return own if own.exists() else self.config_folder / f"{name}.example.yaml"

    @property
    def models(self) -> Path:
        """Verified model folders, by digest."""
        return self.home / "models"

    @property
    def datasets(self) -> Path:
        """Calibration and evaluation sets, by name and version."""
        return self.home / "datasets"

    @property
    def work(self) -> Path:
        """Finished and unfinished work, by the digest of its inputs."""
        return self.home / "work"

    @property
    def secrets(self) -> Path:
        """Generated secrets, mode 600 in a folder of mode 700."""
        return self.secrets_folder or self.home / "secrets"

    @property
    def metrics(self) -> Path:
        """Prometheus text files of the ML jobs."""
        return self.home / "metrics"

    @property
    def run(self) -> Path:
        """Pid files and chosen ports of the embedded stack."""
        return self.home / "run"

    @property
    def logs(self) -> Path:
        """Logs of the embedded stack."""
        return self.home / "logs"


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    Raises:
        ConfigError: an unknown key, or a value out of its range; the message names both.
    """
    env = os.environ if environment is None else environment
    home = Path(env.get(f"{PREFIX}HOME") or PROJECT / ".greenlight").expanduser().absolute()
    values = merge(_from_file(env.get(CONFIG_VARIABLE), home=home), _from_environment(env))
    if fixed := {"home", "project"} & set(values):
        raise ConfigError(
            f"settings: {', '.join(sorted(fixed))} can't be set there; the home is the environment "
            f"variable GREENLIGHT_HOME, the project is where the package is installed"
        )
    values["home"] = home
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(explain(error, where="settings")) from error


def merge(below: JsonDict, above: JsonDict) -> JsonDict:
    """Return `below` with what `above` says, group by group: one port leaves the others alone."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        both = isinstance(under, dict) and isinstance(value, dict)
        merged[key] = merge(under, value) if both else value  # type: ignore[arg-type]
    return merged


def read_config(path: Path, kind: type[Config]) -> Config:
    """Read a YAML file of one shape.

    Raises:
        ConfigError: the file cannot be read, or has an unknown key or a bad value.
    """
    try:
        return kind.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {error}") from error
    except ValidationError as error:
        raise ConfigError(explain(error, where=str(path))) from error


def explain(error: ValidationError, *, where: str) -> str:
    """Return one sentence a person can act on: key, value, what is allowed."""
    parts = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"]) or "(top)"
        if problem["type"] == "extra_forbidden":
            parts.append(f"unknown key {key!r}")
        else:
            parts.append(f"{key}: {problem['msg']}, got {problem['input']!r}")
    return f"{where}: " + "; ".join(parts)


def _from_file(named: str | None, *, home: Path) -> JsonDict:
    path = Path(named).expanduser() if named else home / "config.yaml"
    if not path.exists():
        if named:
            raise ConfigError(f"{CONFIG_VARIABLE} names {path}, which does not exist")
        return {}
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold keys and values, not a {type(values).__name__}")
    return values


def _from_environment(env: Mapping[str, str]) -> JsonDict:
    """Return settings from `GREENLIGHT_KEY` and `GREENLIGHT_PORTS__AIRFLOW`, parsed as YAML.

    An empty variable counts as not set, as in a shell's `${NAME:-default}`.
    """
    skipped = {f"{PREFIX}HOME", CONFIG_VARIABLE} | SETUP_VARIABLES | COMPOSE_VARIABLES
    values: JsonDict = {}
    for name, text in sorted(_with_files(env).items()):
        if not name.startswith(PREFIX) or name in skipped or not text.strip():
            continue
        value = _parse(name, text)
        for key in reversed(name.removeprefix(PREFIX).lower().split("__")):
            value = {key: value}
        values = merge(values, value)
    return values


def _with_files(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with what the files hold in place of their names."""
    found = dict(env)
    for name in IN_FILES:
        path = found.pop(f"{name}_FILE", "").strip()
        if not path:
            continue
        if found.get(name, "").strip():
            raise ConfigError(f"both {name} and {name}_FILE are set; keep one of them")
        try:
            found[name] = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{name}_FILE names {path}, which can't be read: {error}") from error
        if not found[name]:
            raise ConfigError(
                f"{name}_FILE names {path}, which is empty; `greenlight secrets init` writes it"
            )
    return found


def _parse(name: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"{name}={text!r} can't be read as a YAML value: {str(error).splitlines()[0]}"
        ) from error
