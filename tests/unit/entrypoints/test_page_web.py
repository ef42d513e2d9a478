"""The page's addresses: who may do what, where an answer must come from, what is asked first."""

import re
from dataclasses import dataclass, field
from datetime import datetime

import pytest
from cost_tools_worlds import tools
from fastapi import HTTPException
from fastapi.testclient import TestClient
from page_worlds import PageWorld

from greenlight.adapters.page.panels import PanelName
from greenlight.adapters.page.render import Visitor
from greenlight.cost.savings import State
from greenlight.deploy.journal import Event, Phase, Step
from greenlight.entrypoints.page import costs
from greenlight.entrypoints.page.actions import COST, DEPLOY, GO_BACK
from greenlight.entrypoints.page.origin import why_foreign
from greenlight.entrypoints.page.web import Access, Page, build
from greenlight.testing import page_story as story

HOST = "airflow.example:8080"
OURS = {"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"}
EVERYTHING = frozenset({"read", DEPLOY, COST})


@dataclass
class Airflow:
    """Who is logged in, and what was started. `rights`: what they have."""

    rights: frozenset = EVERYTHING
    logged_in: bool = True
    started: list = field(default_factory=list)
    notes: list = field(default_factory=list)

    def needs(self, right):
        def check():
            if not self.logged_in:
                raise HTTPException(401, "Not authenticated")
            if right not in self.rights:
                raise HTTPException(403, "Forbidden")

        return check

    def visitor(self):
        return Visitor(
            name="ana", may_go_back=DEPLOY in self.rights, may_answer=COST in self.rights
        )

    def start_run(self, dag_id, *, run_id, conf, by, note):
        self.started.append((dag_id, run_id, conf, by))
        self.notes.append(note)


@pytest.fixture
def airflow():
    return Airflow()


@pytest.fixture
def world(tmp_path):
    return PageWorld(tmp_path)


@pytest.fixture
def money(tmp_path, world):
    made = tools(tmp_path, settings=world.settings)
    now: datetime = made.clock.now()
    story.tell_costs(made.store, now=now, currency="USD")
    return made


@pytest.fixture
def client(world, airflow, money):
    page = Page(world, start_run=airflow.start_run, open_costs=lambda: money)
    access = Access(
        read=airflow.needs("read"),
        go_back=airflow.needs(DEPLOY),
        answer=airflow.needs(COST),
        visitor=airflow.visitor,
    )
    app = build(page, access=access)
    with TestClient(app, base_url=f"http://{HOST}", follow_redirects=False) as client:
        yield client


def end(world):
    """Let the rollout that is on its way go live."""
    detail = {"outcome": "live", "reason": "9 serves everybody"}
    world.journal.append(
        Event(rollout_id=story.RUNNING, at=world.now, step=Step.FINISH, phase=Phase.DONE,
              detail=detail)
    )  # fmt: skip


def fields_of(html):
    """Return what a form would send, with a reason filled in."""
    found = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', html))
    if way := re.search(r"<option selected>([^<]+)", html):
        found["way"] = way[1]
    return found | {"reason": "odd answers", "sure": "yes"}


def asked(client, **query):
    answer = client.get("/roll-back", params={"fleet": story.FLEET} | query)
    assert answer.status_code == 200, answer.text
    return fields_of(answer.text)


def post(client, data, path="/roll-back", headers=OURS):
    return client.post(path, data=data, headers=headers)


# --- reading ---------------------------------------------------------------------------------


def test_every_panel_is_on_the_page_and_can_be_had_alone(client):
    whole = client.get("/").text
    for name in PanelName:
        assert f'<section id="{name}"' in whole
        alone = client.get(f"/panel/{name}")
        assert alone.status_code == 200
        assert "<html" not in alone.text


def test_who_may_not_read_sees_nothing(client, airflow):
    airflow.rights = frozenset()
    for path in ("/", "/panel/fleets", "/cost-report"):
        answer = client.get(path)
        assert answer.status_code == 403
        assert "gpu-1" not in answer.text


def test_who_is_logged_out_is_told_to_log_in(client, airflow):
    airflow.logged_in = False
    answer = client.get("/")
    assert answer.status_code == 401
    assert "log in to Airflow again" in answer.text


def test_who_may_only_read_is_offered_nothing(client, airflow, world):
    end(world)
    assert "Roll back to 7" in client.get("/panel/history").text
    airflow.rights = frozenset({"read"})
    assert "Roll back" not in client.get("/panel/history").text


@pytest.mark.parametrize("path", ["/", "/panel/fleets", "/page.css", "/nowhere", "/roll-back"])
def test_every_answer_forbids_what_is_foreign(client, path):
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    assert "unsafe" not in policy
    assert headers["referrer-policy"] == "same-origin"  # with `no-referrer`, Origin would be null
    assert headers["x-content-type-options"] == "nosniff"


def test_what_the_page_loads_is_there_and_nothing_else_of_the_folder(client):
    for name, kind in {"page.css": "text/css", "page.js": "text/javascript"}.items():
        assert client.get(f"/{name}").headers["content-type"].startswith(kind)
    for name in ("render.py", "page.html.j2", "..%2frender.py"):
        assert client.get(f"/{name}").status_code == 404


def test_the_cost_report_is_served_without_scripts_once_it_is_there(client, world):
    assert client.get("/cost-report").status_code == 400
    folder = costs.report_folder(world.settings)
    folder.mkdir(parents=True)
    (folder / "cost-report.html").write_text("<style>p{}</style><p>November</p>")
    answer = client.get("/cost-report")
    assert "November" in answer.text
    assert "script" not in answer.headers["content-security-policy"]


def test_a_made_up_notice_is_not_shown(client):
    for query in ("started=other_dag&run=page-1", f"started={DEPLOY}&run=<b>", "answered=paid"):
        assert 'class="notice"' not in client.get(f"/?{query}").text
    assert "Going back was started" in client.get(f"/?started={DEPLOY}&run=page-demo-1").text


# --- going back --------------------------------------------------------------------------------


def test_going_back_while_a_rollout_runs_starts_its_dag_in_the_persons_name(client, airflow):
    fields = asked(client)
    answer = post(client, fields)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"./?started={GO_BACK}&run={fields['run']}"
    (started,) = airflow.started
    assert started == (
        GO_BACK,
        fields["run"],
        {"fleet": "demo", "rollout": story.RUNNING, "reason": "odd answers", "by": "ana"},
        "ana",
    )


def test_going_back_to_a_version_deploys_it(client, airflow, world):
    end(world)
    fields = asked(client, version=7)
    assert post(client, fields).status_code == 303
    ((dag, _, conf, by),) = airflow.started
    assert (dag, by) == (DEPLOY, "ana")
    assert conf == {"fleet": "demo", "version": 7, "rollout": "blue_green"}
    assert airflow.notes == ["odd answers"]  # the deploy's form has no field for it


def test_the_same_answer_twice_is_one_run(client, airflow):
    fields = asked(client)
    post(client, fields)
    post(client, fields)
    assert len({run for _, run, _, _ in airflow.started}) == 1
    assert asked(client)["run"] != fields["run"]


def test_nothing_is_started_before_somebody_said_yes(client, airflow):
    fields = asked(client)
    del fields["sure"]
    assert post(client, fields).status_code == 400
    assert client.get("/roll-back", params=fields).status_code == 200  # asks again
    assert airflow.started == []


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": f"http://{HOST}", "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {},
    ],
)
def test_an_answer_from_another_page_is_refused(client, airflow, headers):
    answer = post(client, asked(client), headers=headers)
    assert answer.status_code == 403
    assert "Nothing was done" in answer.text
    assert airflow.started == []


def test_who_may_not_deploy_is_neither_asked_nor_heard(client, airflow):
    fields = asked(client)
    airflow.rights = EVERYTHING - {DEPLOY}
    assert client.get("/roll-back", params={"fleet": "demo"}).status_code == 403
    assert post(client, fields).status_code == 403
    assert airflow.started == []


def test_an_answer_to_what_has_changed_is_refused(client, airflow, world):
    fields = asked(client)
    end(world)
    answer = post(client, fields | {"version": "7"})
    assert answer.status_code == 409
    assert "changed since you were asked" in answer.text
    assert airflow.started == []


@pytest.mark.parametrize(
    ("change", "status", "why"),
    [
        ({"reason": "  "}, 400, "needs a reason"),
        ({"reason": "x" * 1001}, 400, "1001 characters, at most 1000"),
        ({"run": "scheduled__1"}, 400, "no id of a run"),
        ({"run": "page-demo-1\n"}, 400, "no id of a run"),
        ({"fleet": "other"}, 400, "no fleet"),
    ],
)
def test_a_form_that_was_tampered_with_is_refused(client, airflow, change, status, why):
    answer = post(client, asked(client) | change)
    assert (answer.status_code, why in answer.text) == (status, True)
    assert airflow.started == []


@pytest.mark.parametrize(
    ("version", "why"),
    [
        (9, "serves already"),
        (8, "was never live"),
        (99, "was never live"),
        ("", "choose a version"),
    ],
)
def test_only_what_was_live_can_be_gone_back_to(client, world, version, why):
    end(world)
    query = {"fleet": "demo"} | ({"version": version} if version else {})
    answer = client.get("/roll-back", params=query)
    assert (answer.status_code, why in answer.text) == (409, True)


def test_a_way_that_rollout_yaml_lacks_is_refused(client, airflow, world):
    end(world)
    answer = post(client, asked(client, version=7) | {"way": "reckless"})
    assert answer.status_code == 400
    assert airflow.started == []


# --- advice ------------------------------------------------------------------------------------


def state_of(money, name="size/gpu-1"):
    return next(one for one in money.store.advice() if one.id == name)


def answered(client, wanted, **changes):
    query = {"name": "size/gpu-1", "answer": wanted}
    fields = fields_of(client.get("/advice", params=query).text)
    return post(client, fields | changes, "/advice")


def test_advice_is_accepted_in_the_persons_name(client, money):
    answer = answered(client, "accept")
    assert answer.headers["location"] == "./?answered=accepted"
    kept = state_of(money)
    assert (kept.state, kept.changed_by) == (State.ACCEPTED, "ana")


def test_advice_is_dismissed_with_the_reason(client, money):
    answered(client, "dismiss", reason="a rush is coming")
    kept = state_of(money)
    assert (kept.state, kept.reason) == (State.DISMISSED, "a rush is coming")


@pytest.mark.parametrize(
    ("changes", "status"),
    [({"reason": ""}, 409), ({"answer": "maybe"}, 400), ({"name": "x"}, 400), ({"sure": ""}, 400)],
)
def test_an_answer_that_lacks_something_changes_nothing(client, money, changes, status):
    assert answered(client, "dismiss", **changes).status_code == status
    assert state_of(money).state is State.OPEN


def test_advice_that_was_answered_is_not_asked_about_again(client):
    answered(client, "accept")
    answer = client.get("/advice", params={"name": "size/gpu-1"})
    assert answer.status_code == 409
    assert "is accepted by ana already" in answer.text


def test_who_may_not_answer_advice_is_refused_and_foreign_answers_too(client, airflow, money):
    data = {"name": "size/gpu-1", "answer": "accept", "sure": "yes"}
    assert post(client, data, "/advice", {"origin": "http://evil.example"}).status_code == 403
    airflow.rights = EVERYTHING - {COST}
    assert client.get("/advice", params={"name": "size/gpu-1"}).status_code == 403
    assert post(client, data, "/advice").status_code == 403
    assert state_of(money).state is State.OPEN


# --- where an answer comes from ------------------------------------------------------------------


def test_a_script_with_a_token_of_its_own_needs_no_origin():
    assert why_foreign({"authorization": "Bearer x"}, hosts=[HOST]) is None
    assert why_foreign({"authorization": "Basic x"}, hosts=[HOST]) is not None
    foreign = {"authorization": "Bearer x", "origin": "http://evil.example"}
    assert why_foreign(foreign, hosts=[HOST]) is not None


def test_the_name_before_a_proxy_is_ours_too():
    ours = {"origin": "https://greenlight.example"}
    assert why_foreign(ours, hosts=["127.0.0.1:8080", "greenlight.example"]) is None
    assert why_foreign(ours, hosts=["127.0.0.1:8080"]) is not None
