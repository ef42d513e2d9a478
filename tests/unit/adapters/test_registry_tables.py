"""Where files lie; what the tables say is in tests/integration/backup."""

import pytest

from greenlight.adapters.registry_tables import saved_folder


@pytest.mark.parametrize(
    ("uri", "folder"),
    [
        ("mlflow-artifacts:/7/abc/artifacts", "mlflow/artifacts/7/abc/artifacts"),
        ("mlflow-artifacts:/own%20place/abc/artifacts", "mlflow/artifacts/own place/abc/artifacts"),
        ("s3://bucket/7/abc/artifacts", None),
        ("file:///srv/7/abc/artifacts", None),
        ("/srv/7/abc/artifacts", None),
        ("mlflow-artifacts://another.host:5000/7/abc/artifacts", None),
        ("mlflow-artifacts:/7/../../../secrets", None),
        ("mlflow-artifacts:/7/%2e%2e/secrets", None),
    ],
)
def test_only_what_the_server_keeps_itself_lies_under_the_home(uri, folder):
    assert saved_folder(uri) == folder
