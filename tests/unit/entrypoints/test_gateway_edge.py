from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from greenlight.core.errors import ConfigError
from greenlight.core.settings import Settings
from greenlight.entrypoints.gateway.edge import open_edge

FILE: dict[str, Any] = {
    "models": [{"name": "m", "upstream": "http://127.0.0.1:1", "fleet": "f", "context": 999}],
    "tenants": [{"name": "t"}],
    "listen": {"port": 8300},
}
EDGE = {"port": 8443, "certificate": "/tls/chain.pem", "key": "/tls/key.pem"}


def settings_with(home: Path, **changes: Any) -> Settings:
    (home / "config").mkdir(parents=True)
    (home / "config/gateway.yaml").write_text(yaml.safe_dump(FILE | changes))
    return Settings(home=home)


def test_nginx_stands_in_front_of_the_gateway_of_the_same_file(tmp_path: Path) -> None:
    assert open_edge(settings_with(tmp_path, edge=EDGE)).url == "https://127.0.0.1:8443"


def test_without_an_edge_it_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no `edge`"):
        open_edge(settings_with(tmp_path))


@pytest.mark.parametrize("changes", [{"listen": {}}, {"edge": EDGE | {"port": 0}}])
def test_ports_that_nobody_knows_are_asked_for(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"set listen\.port and edge\.port"):
        open_edge(settings_with(tmp_path, **{"edge": EDGE} | changes))


def test_nginx_never_refuses_what_the_gateway_would_take(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"edge\.body_bytes \(1000\) is below"):
        open_edge(settings_with(tmp_path, edge=EDGE | {"body_bytes": 1000}))
