from pathlib import Path

import pytest

from greenlight.core.errors import ConfigError
from greenlight.core.settings import PROJECT, load_settings


def load(tmp_path, text="", **environment):
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    (home / "config.yaml").write_text(text)
    return load_settings({"GREENLIGHT_HOME": str(home)} | environment)


def test_without_any_setting_the_home_is_in_the_project():
    assert load_settings({}).home == PROJECT / ".greenlight"


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(tmp_path):
    text = "approval_hours: 5\nevidence_days: 7\n"
    found = load(tmp_path, text, GREENLIGHT_APPROVAL_HOURS="9")
    assert (found.approval_hours, found.evidence_days) == (9, 7)
    assert found.job_timeout_s == 6 * 3600


def test_one_port_in_the_environment_leaves_the_ports_of_the_file_alone(tmp_path):
    found = load(tmp_path, "ports: {airflow: 8080}", GREENLIGHT_PORTS__MLFLOW="5000")
    assert (found.ports.airflow, found.ports.mlflow, found.ports.postgres) == (8080, 5000, 0)


def test_a_whole_group_and_a_part_of_it_may_both_be_in_the_environment(tmp_path):
    found = load(tmp_path, GREENLIGHT_PORTS="{airflow: 1}", GREENLIGHT_PORTS__MLFLOW="2")
    assert (found.ports.airflow, found.ports.mlflow) == (1, 2)


def test_an_unknown_key_is_refused_in_the_file_and_in_the_environment(tmp_path):
    with pytest.raises(ConfigError, match="unknown key 'approval_hour'"):
        load(tmp_path, "approval_hour: 5")
    with pytest.raises(ConfigError, match=r"unknown key 'ports\.celery'"):
        load(tmp_path, GREENLIGHT_PORTS__CELERY="1")


def test_a_value_out_of_its_range_is_named_with_its_key(tmp_path):
    with pytest.raises(ConfigError, match=r"ports\.airflow: .*65535, got 70000"):
        load(tmp_path, GREENLIGHT_PORTS__AIRFLOW="70000")


def test_a_malformed_value_names_the_variable(tmp_path):
    with pytest.raises(ConfigError, match="GREENLIGHT_LICENCES='\\[mit'"):
        load(tmp_path, GREENLIGHT_LICENCES="[mit")


def test_a_malformed_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"config\.yaml is not YAML"):
        load(tmp_path, "ports: [1")
    with pytest.raises(ConfigError, match="must hold keys and values, not a list"):
        load(tmp_path, "- 1")


def test_a_named_file_must_exist(tmp_path):
    with pytest.raises(ConfigError, match="which does not exist"):
        load_settings({"GREENLIGHT_CONFIG": str(tmp_path / "no.yaml")})


def test_an_empty_variable_counts_as_not_set(tmp_path):
    assert load(tmp_path, GREENLIGHT_APPROVAL_HOURS=" ").approval_hours == 72


def test_the_home_cannot_be_moved_by_a_file_inside_it(tmp_path):
    with pytest.raises(ConfigError, match="home can't be set there"):
        load(tmp_path, "home: /elsewhere")


def test_a_relative_path_starts_at_the_project_wherever_the_command_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = load(tmp_path, GREENLIGHT_ML_PYTHON="other-env/bin/python")
    assert found.ml_python == PROJECT / "other-env/bin/python"


def test_the_variables_of_the_set_up_script_may_stay_set(tmp_path):
    assert load(tmp_path, GREENLIGHT_TORCH_BACKEND="cpu").hub_enabled is False


def test_an_address_with_a_password_may_be_in_a_file(tmp_path):
    path = tmp_path / "url"
    path.write_text("postgresql+psycopg2://a:b@c/d\n")
    found = load(
        tmp_path, GREENLIGHT_DATABASE_URL_FILE=str(path), GREENLIGHT_SUPERUSER_URL_FILE=str(path)
    )
    assert found.database_url == found.superuser_url == "postgresql+psycopg2://a:b@c/d"


def test_an_address_in_a_file_and_another_in_the_environment_are_refused(tmp_path):
    path = tmp_path / "url"
    path.write_text("postgresql+psycopg2://a:b@c/d\n")
    both = {"GREENLIGHT_DATABASE_URL": "other", "GREENLIGHT_DATABASE_URL_FILE": str(path)}
    with pytest.raises(ConfigError, match="both GREENLIGHT_DATABASE_URL and"):
        load(tmp_path, **both)
    assert load(tmp_path, **both | {"GREENLIGHT_DATABASE_URL": " "}).database_url.endswith("c/d")


def test_a_file_that_is_missing_or_empty_is_named(tmp_path):
    path = tmp_path / "url"
    with pytest.raises(ConfigError, match=r"GREENLIGHT_DATABASE_URL_FILE names .*url.*can't be"):
        load(tmp_path, GREENLIGHT_DATABASE_URL_FILE=str(path))
    path.write_text("\n")
    with pytest.raises(ConfigError, match="which is empty; `greenlight secrets init`"):
        load(tmp_path, GREENLIGHT_DATABASE_URL_FILE=str(path))


def test_other_settings_are_never_read_from_a_file(tmp_path):
    with pytest.raises(ConfigError, match="unknown key 'mlflow_url_file'"):
        load(tmp_path, GREENLIGHT_MLFLOW_URL_FILE="/etc/hostname")


def test_secrets_are_in_the_home_or_where_they_are_mounted(tmp_path):
    assert load(tmp_path).secrets == tmp_path / "home/secrets"
    found = load(tmp_path, GREENLIGHT_SECRETS_FOLDER="/run/secrets")
    assert found.secrets == Path("/run/secrets")


def test_the_example_file_documents_every_setting_with_its_default():
    import yaml

    path = PROJECT / "include/config/greenlight.example.yaml"
    shown = yaml.safe_load(path.read_text())
    defaults = load_settings({}).model_dump(mode="json", exclude={"home", "project"})
    for key in ("ml_python", "autogptq_python", "serve_python"):
        defaults[key] = str(Path(defaults[key]).relative_to(PROJECT))
    assert shown == defaults
