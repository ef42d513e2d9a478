"""The webhook in MLflow: one, whatever was there, and a refusal that says what to do."""

import json

import httpx
import pytest

from greenlight.adapters.mlflow_webhooks import NAME, PATH, ensure_webhook
from greenlight.core.errors import ConfigError, UnavailableError

EVENTS = ("model_version_alias.created", "model_version_tag.set")


class Server:
    """As much of MLflow's API as is asked; pages hold one webhook each."""

    def __init__(self, *names, status=200):
        self.webhooks = [{"name": name, "webhook_id": f"id-{name}"} for name in names]
        self.status, self.written = status, []

    def __call__(self, request):
        if self.status != 200:
            return httpx.Response(self.status, json={"message": "Invalid webhook URL scheme"})
        if request.method == "GET":
            at = int(request.url.params.get("page_token", 0))
            token = {"next_page_token": str(at + 1)} if at + 1 < len(self.webhooks) else {}
            return httpx.Response(200, json={"webhooks": self.webhooks[at : at + 1]} | token)
        self.written.append((request.method, request.url.path, json.loads(request.content)))
        return httpx.Response(200, json={"webhook": {}})


def ensure(server):
    return ensure_webhook(
        "http://mlflow/", url="http://airflow/x", secret="s3cret", events=EVENTS,
        transport=httpx.MockTransport(server),
    )  # fmt: skip


def test_a_new_one_is_made_with_its_events():
    server = Server()
    assert ensure(server) is True
    ((method, path, body),) = server.written
    assert (method, path, body["name"], body["secret"]) == ("POST", PATH, NAME, "s3cret")
    assert {"entity": "MODEL_VERSION_TAG", "action": "SET"} in body["events"]


def test_ours_is_set_anew_though_it_is_on_a_later_page_and_others_stay():
    server = Server("theirs", NAME)
    assert ensure(server) is False
    ((method, path, _),) = server.written
    assert (method, path) == ("PATCH", f"{PATH}/id-{NAME}")


@pytest.mark.parametrize(
    ("status", "error", "named"),
    [(400, ConfigError, "ALLOWED_SCHEMES"), (500, UnavailableError, "ENCRYPTION_KEY")],
)
def test_a_refusal_says_which_setting_it_may_be(status, error, named):
    with pytest.raises(error, match=named) as raised:
        ensure(Server(status=status))
    assert "s3cret" not in str(raised.value)


def test_nobody_there_is_no_refusal():
    def away(request):
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(UnavailableError, match="does not answer"):
        ensure(away)
