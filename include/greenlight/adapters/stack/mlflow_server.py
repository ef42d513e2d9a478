"""The MLflow server: its database in PostgreSQL, its artifacts on disk and handed out by itself.

Clients need only the URL. Settings go in through the environment, because a command line can be
read by everybody on the machine and the database URL holds a password.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from greenlight.adapters.stack.ports import LOOPBACK
from greenlight.adapters.stack.postgres import database_url
from greenlight.adapters.stack.secrets import StackSecrets
from greenlight.adapters.stack.services import Service, ServiceName
from greenlight.core.settings import Ports, Settings


def url(ports: Ports) -> str:
    """Return where MLflow answers."""
    return f"http://{LOOPBACK}:{ports.mlflow}"


def mlflow_environment(
    settings: Settings, *, ports: Ports, secrets: StackSecrets
) -> dict[str, str]:
    """Return MLflow's settings as environment variables."""
    return {
        "MLFLOW_BACKEND_STORE_URI": database_url(
            "mlflow", port=ports.postgres, password=secrets.postgres
        ),
        "MLFLOW_ARTIFACTS_DESTINATION": (settings.home / "mlflow/artifacts").as_uri(),
        "MLFLOW_SERVE_ARTIFACTS": "true",
        "MLFLOW_HOST": LOOPBACK,
        "MLFLOW_PORT": str(ports.mlflow),
        "MLFLOW_WORKERS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # its webhook goes to Airflow on this machine; where MLflow is shared, use https and a name
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": secrets.mlflow_webhook_key,
    }


def server(
    settings: Settings, *, ports: Ports, secrets: StackSecrets, inherited: Mapping[str, str]
) -> Service:
    """Return the server as a service; `inherited` is what it gets besides its settings."""
    own = mlflow_environment(settings, ports=ports, secrets=secrets)
    return Service(
        name=ServiceName.MLFLOW,
        command=[sys.executable, "-m", "mlflow", "server"],
        settings=own,
        inherited=inherited,
        cwd=settings.home,
    )
