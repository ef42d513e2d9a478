from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from compose_services import postgres_server

from greenlight.adapters.stack.compose_secrets import make_secrets


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    # Not below pytest's own folder: the account of PostgreSQL has to pass through, and every
    # pytest that starts closes that folder again.
    with tempfile.TemporaryDirectory(prefix="greenlight-compose-") as folder:
        place = Path(folder)
        place.chmod(0o755)
        make_secrets(place / "secrets", edge_host="localhost", now=datetime.now(UTC))
        yield place


@pytest.fixture(scope="module")
def postgres(place: Path) -> Iterator[int]:
    with postgres_server(place) as port:
        yield port
