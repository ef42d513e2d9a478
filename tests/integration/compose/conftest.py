from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from compose_services import postgres_server

from greenlight.adapters.stack.compose_secrets import make_secrets


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("compose")
    for folder in (place, *place.parents[:2]):
        folder.chmod(0o755)  # the account of PostgreSQL has to pass through
    make_secrets(place / "secrets", edge_host="localhost", now=datetime.now(UTC))
    return place


@pytest.fixture(scope="module")
def postgres(place: Path) -> Iterator[int]:
    with postgres_server(place) as port:
        yield port
