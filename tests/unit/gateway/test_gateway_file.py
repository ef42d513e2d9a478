from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from greenlight.core.errors import ConfigError
from greenlight.core.settings import PROJECT
from greenlight.gateway.gateway_file import GatewayFile, Issuer, ServedModel, load_gateway_file
from greenlight.gateway.limits import Charge, Holder, Limit, LimitKind
from greenlight.gateway.principals import CredentialKind, Principal

MODEL = {"name": "m", "upstream": "http://127.0.0.1:1", "fleet": "f", "context": 1024}
FILE: dict[str, Any] = {"models": [MODEL], "tenants": [{"name": "t"}]}
EXAMPLE = PROJECT / "include/config/gateway.example.yaml"


def read(**changes: Any) -> GatewayFile:
    return GatewayFile.model_validate(FILE | changes)


def test_the_example_is_a_file() -> None:
    assert load_gateway_file(EXAMPLE).model("smollm2-135m-instruct") is not None


def test_the_example_says_every_key() -> None:
    text = EXAMPLE.read_text()
    missing = [key for key in _keys(GatewayFile.model_json_schema()) if key not in text]
    assert missing == []


def _keys(schema: dict[str, Any]) -> set[str]:
    parts = [schema, *schema["$defs"].values()]
    return {key for part in parts for key in part.get("properties", {})}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"models": []}, "at least one"),
        ({"models": [MODEL, MODEL]}, "m is there twice"),
        ({"tenants": []}, "at least one"),
        ({"api_keys": False}, "nobody could enter"),
        ({"modles": []}, "modles"),
        ({"models": [MODEL | {"fleet": None}]}, "tokenizer"),
        ({"models": [MODEL | {"default_max_tokens": 1024}]}, "leaves no room"),
        ({"models": [MODEL | {"upstream": "http://u:p@h"}]}, "upstream"),
        ({"redis": {"url": "redis://:secret@h"}}, "url"),
        ({"tenants": [{"name": "t", "scopes": ["admin"]}]}, "'admin' is unknown"),
    ],
)
def test_a_wrong_file_is_refused_with_the_key(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        read(**changes)


def test_an_unreadable_file_is_a_setting_to_change(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        load_gateway_file(tmp_path / "none.yaml")


def test_an_issuer_is_asked_over_tls_or_on_this_machine() -> None:
    Issuer(issuer="http://127.0.0.1:8080/realm", audience="a")
    with pytest.raises(ValidationError, match="https"):
        Issuer(issuer="http://login.example.org", audience="a")
    with pytest.raises(ValidationError, match="https"):
        Issuer(issuer="https://login.example.org", audience="a", jwks_url="http://evil.example/k")


@pytest.mark.parametrize("algorithm", ["HS256", "none", "RS1"])
def test_no_algorithm_with_a_shared_key_can_be_chosen(algorithm: str) -> None:
    with pytest.raises(ValidationError, match="algorithms"):
        Issuer.model_validate({"issuer": "https://a", "audience": "a", "algorithms": [algorithm]})


def test_a_call_costs_by_the_models_price() -> None:
    price = {"input_per_million": 0.1, "output_per_million": 0.3}
    model = ServedModel.model_validate(MODEL | {"price": price})
    assert model.charge(prompt=1000, answer=500) == Charge(tokens=1500, spend=250)
    free = ServedModel.model_validate(MODEL)
    assert free.charge(prompt=1000, answer=500) == Charge(tokens=1500, spend=0)


def test_a_request_stands_under_the_limits_of_its_key_and_of_its_tenant() -> None:
    file = read(
        tenants=[
            {"name": "t", "limits": {"spend_per_day": 1.5}, "each_key": {"tokens_per_minute": 9}}
        ]
    )
    who = Principal(
        kind=CredentialKind.API_KEY, subject="k", tenant="t", scopes=frozenset(), expires_at=None
    )
    assert file.limits_of(who) == (
        Limit(kind=LimitKind.TOKENS, holder=Holder.KEY, subject="k", amount=9),
        Limit(kind=LimitKind.SPEND_DAY, holder=Holder.TENANT, subject="t", amount=1_500_000),
    )
