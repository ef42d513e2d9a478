import json

import httpx
import pytest

from greenlight.adapters.airflow_api import AirflowApi
from greenlight.core.errors import InputError, RefusedError, UnavailableError

RUN = "/api/v2/dags/d/dagRuns"


class World:
    """An Airflow whose answers are set by path; logins are counted."""

    def __init__(self, **answers):
        self.answers = answers
        self.logins = 0
        self.bodies = []

    def __call__(self, request):
        if request.url.path == "/auth/token":
            self.logins += 1
            return httpx.Response(201, json={"access_token": f"t{self.logins}"})
        self.bodies.append(json.loads(request.content or b"null"))
        answer = self.answers[request.url.path]
        return answer(request) if callable(answer) else answer

    def api(self):
        return AirflowApi(
            "http://airflow", user="admin", password="x", transport=httpx.MockTransport(self)
        )


def test_a_started_run_says_so_and_carries_its_conf():
    world = World(**{RUN: httpx.Response(200, json={})})
    assert world.api().start_run("d", run_id="r", conf={"model": "m"})
    assert world.bodies == [{"dag_run_id": "r", "logical_date": None, "conf": {"model": "m"}}]


def test_a_run_of_this_id_that_exists_is_not_started_again():
    assert (
        not World(**{RUN: httpx.Response(409, json={})}).api().start_run("d", run_id="r", conf={})
    )


def test_a_refused_conf_is_the_callers_mistake():
    refusal = httpx.Response(400, json={"detail": "bits: 5 is not one of 4, 8"})
    with pytest.raises(InputError, match="bits: 5"):
        World(**{RUN: refusal}).api().start_run("d", run_id="r", conf={})


def test_an_expired_token_is_renewed_once():
    def answer(request):
        fresh = request.headers["Authorization"] == "Bearer t2"
        return httpx.Response(200, json={"state": "running"}) if fresh else httpx.Response(401)

    world = World(**{f"{RUN}/r": answer})
    assert world.api().run_state("d", "r") == "running"
    assert world.logins == 2


def test_a_wrong_password_is_refused():
    transport = httpx.MockTransport(lambda _: httpx.Response(401))
    with pytest.raises(RefusedError, match="log-in of 'admin'"):
        AirflowApi("http://airflow", user="admin", password="x", transport=transport)


def test_a_server_error_is_not_taken_for_an_answer():
    with pytest.raises(UnavailableError, match="answers 500"):
        World(**{f"{RUN}/r": httpx.Response(500, text="boom")}).api().run_state("d", "r")


def test_an_attempt_takes_the_first_number_that_no_finished_run_has():
    def start(request):
        taken = json.loads(request.content)["dag_run_id"] in {"n-1", "n-2"}
        return httpx.Response(409 if taken else 200, json={})

    failed, running = ({"state": state} for state in ("failed", "running"))
    answers = {RUN: start, f"{RUN}/n-1": httpx.Response(200, json=failed)}
    world = World(**answers, **{f"{RUN}/n-2": httpx.Response(200, json=failed)})
    assert world.api().start_attempt("d", name="n", conf={}) == "n-3"
    world = World(**answers, **{f"{RUN}/n-2": httpx.Response(200, json=running)})
    assert world.api().start_attempt("d", name="n", conf={}) == "n-2"
