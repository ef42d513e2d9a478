"""The Greenlight page in a real Airflow, as people of different rights see and use it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from browser_world import CHROMIUM, World, visit
from playwright.sync_api import Browser, FrameLocator, Page, Request, expect

from greenlight.adapters import database
from greenlight.adapters.cost_store import DatabaseCosts
from greenlight.adapters.page.panels import PanelName
from greenlight.adapters.rollout_store import DatabaseJournal
from greenlight.cost.savings import State
from greenlight.deploy.journal import Outcome, progress
from greenlight.entrypoints.page.actions import DEPLOY, GO_BACK
from greenlight.testing import page_story as story
from greenlight.testing.airflow_runs import call, end_of

pytestmark = [
    pytest.mark.ui,
    pytest.mark.timeout(900),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
NAMED = """() => {
  const of = (node) => (node.getAttribute('aria-label') || node.innerText || node.title ||
    [...(node.labels || [])].map((label) => label.innerText).join(' ')).trim();
  const kinds = 'a, button, input:not([type=hidden]), select, meter, progress';
  const poor = [...document.querySelectorAll(kinds)].filter((node) => !of(node));
  return poor.map((node) => node.outerHTML);
}"""
"""Returns every control that a screen reader could not name."""
CONTRAST = """() => {
  const light = (rgb) => rgb.map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const parts = (text) => text.match(/[0-9.]+/g).map(Number);
  const behind = (node) => {
    for (let one = node; one; one = one.parentElement) {
      const found = parts(getComputedStyle(one).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const poor = new Set();
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((one) => one.nodeType === 3 && one.data.trim());
    if (!own || !node.getClientRects().length || node.closest('svg')) continue;
    const [a, b] = [light(parts(getComputedStyle(node).color).slice(0, 3)), light(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.add(`${node.tagName} ${node.className} ${ratio.toFixed(2)}`);
  }
  return [...poor];
}"""
"""Returns what text has less contrast than WCAG AA asks for."""


def direct(world: World) -> str:
    return f"{world.found.airflow_url}/greenlight/"


def framed(page: Page, world: World) -> FrameLocator:
    """Open the page where people find it: in Airflow's menu."""
    page.goto(world.url)
    return page.frame_locator("iframe[title=Greenlight]")


@pytest.fixture
def open_page(page: Page, world: World) -> Page:
    page.goto(direct(world))
    return page


@pytest.fixture
def viewer(browser: Browser, world: World) -> Iterator[Page]:
    with visit(browser, world, role="viewer") as context:
        yield context.new_page()


def test_it_is_in_the_menu_and_every_panel_was_read(page: Page, world: World) -> None:
    page.goto(world.found.airflow_url)
    page.get_by_role("link", name="Greenlight").click()
    inside = page.frame_locator("iframe[title=Greenlight]")
    expect(inside.get_by_role("heading", level=1)).to_have_text("Greenlight")
    for name in PanelName:
        expect(inside.locator(f"#{name} [data-panel]")).not_to_be_empty()
    expect(inside.locator(".unread")).to_have_count(0)


def test_the_fleet_shows_versions_health_and_shares(open_page: Page) -> None:
    table = open_page.locator("#fleets table")
    expect(table.locator("tbody tr")).to_have_count(2 * len(story.HOSTS))
    row = table.locator("tbody tr").filter(has_text="gpu-1").filter(has_text="green")
    expect(row).to_contain_text("live")
    expect(row).to_contain_text("7")
    expect(row).to_contain_text("serving")
    expect(row).to_contain_text("25")


def test_a_rollout_on_its_way_shows_its_comparison(open_page: Page) -> None:
    panel = open_page.locator("#rollouts")
    expect(panel).to_contain_text("version 9 in place of 7")
    expect(panel.locator("tbody tr").filter(has_text="ttft-p95")).to_contain_text("insufficient")


def test_cost_backups_and_schedules_say_what_the_stores_say(
    reported: World, open_page: Page
) -> None:
    expect(open_page.locator("#cost")).to_contain_text("Today")
    expect(open_page.locator("#cost")).to_contain_text("the whole cost report")
    expect(open_page.locator("#backups")).to_contain_text("4 of 11 rungs passed")
    expect(open_page.locator("#schedules")).to_contain_text("HPA alone")
    open_page.get_by_role("link", name="the whole cost report").click()
    expect(open_page.locator("h1")).to_contain_text("budget")


def test_nothing_is_asked_of_another_origin(page: Page, world: World) -> None:
    asked: list[Request] = []
    page.on("request", lambda one: asked.append(one))
    framed(page, world).get_by_role("heading", level=1).wait_for()
    page.wait_for_timeout(1000)
    hosts = {urlsplit(one.url).netloc for one in asked if one.url.startswith(("http", "ws"))}
    assert hosts == {urlsplit(world.found.airflow_url).netloc}


def test_the_browser_refuses_what_the_page_does_not_bring(open_page: Page) -> None:
    ran = open_page.evaluate(
        """() => {
          document.body.insertAdjacentHTML('beforeend', '<b onclick="window.ran = 1">x</b>');
          document.body.lastChild.click();
          const own = document.createElement('script');
          own.textContent = 'window.ran = 2';
          document.body.append(own);
          return window.ran || 0;
        }"""
    )
    assert ran == 0


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_it_has_the_theme_that_airflow_has(page: Page, world: World, theme: str) -> None:
    page.goto(world.found.airflow_url)
    page.evaluate(f"localStorage.setItem('theme', '{theme}')")
    inside = framed(page, world)
    expect(inside.locator("html")).to_have_attribute("data-theme", theme)
    other = "light" if theme == "dark" else "dark"
    page.evaluate(f"document.documentElement.classList.replace('{theme}', '{other}')")
    expect(inside.locator("html")).to_have_attribute("data-theme", other)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["", f"roll-back?fleet={story.FLEET}"])
def test_every_control_has_a_name_and_every_text_enough_contrast(
    browser: Browser, world: World, scheme: str, path: str
) -> None:
    with visit(browser, world, color_scheme=scheme) as context:
        page = context.new_page()
        page.goto(direct(world) + path)
        assert page.locator("h1").count() == 1
        assert page.evaluate(NAMED) == []
        assert page.evaluate(CONTRAST) == []
        tables = page.locator("table")
        for number in range(tables.count()):
            assert tables.nth(number).locator("caption").count() == 1
            assert tables.nth(number).locator("th[scope=col]").count() > 1


def test_a_control_without_a_name_and_pale_text_would_be_seen(open_page: Page) -> None:
    open_page.evaluate(
        """() => {
          const pale = document.createElement('p');
          pale.append('pale');
          pale.style.color = 'rgb(200, 200, 200)';
          document.querySelector('main').append(pale, document.createElement('button'));
        }"""
    )
    assert len(open_page.evaluate(NAMED)) == 1
    assert open_page.evaluate(CONTRAST)


def test_it_can_be_walked_through_with_the_keyboard(open_page: Page) -> None:
    seen = []
    for _ in range(60):
        open_page.keyboard.press("Tab")
        seen.append(
            open_page.evaluate(
                "() => [document.activeElement.innerText, "
                "getComputedStyle(document.activeElement).outlineStyle]"
            )
        )
    texts = [text for text, _ in seen]
    assert {"Fleets", "Go back now…", "Accept…", "Dismiss…"} <= set(texts)
    assert all(outline != "none" for text, outline in seen if text in ("Fleets", "Accept…"))


def test_a_phone_needs_no_sideways_scrolling(browser: Browser, world: World) -> None:
    with visit(browser, world, viewport={"width": 390, "height": 844}) as context:
        page = context.new_page()
        page.goto(direct(world))
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_panel_refreshes_by_itself_and_says_when_it_cannot(open_page: Page) -> None:
    open_page.locator("#fleets [data-panel]").evaluate("(node) => node.replaceChildren('old')")
    with open_page.expect_response(re.compile("/panel/fleets")):
        pass
    expect(open_page.locator("#fleets")).to_contain_text("gpu-1")
    open_page.context.clear_cookies()
    expect(open_page.locator("#refreshed")).to_contain_text("log in again")
    expect(open_page.locator("#fleets")).to_contain_text("gpu-1")


def test_links_leave_the_frame_although_it_may_not(page: Page, world: World) -> None:
    framed(page, world).get_by_role("link", name="Required Actions").click()
    page.wait_for_url(re.compile("/required_actions"))
    assert "/plugin/" not in page.url


# --- rights ------------------------------------------------------------------------------------


def test_a_viewer_sees_the_page_and_can_do_nothing(viewer: Page, world: World) -> None:
    viewer.goto(direct(world))
    expect(viewer.locator("#fleets")).to_contain_text("gpu-1")
    for word in ("Go back now…", "Accept…", "Dismiss…"):
        expect(viewer.get_by_role("link", name=word)).to_have_count(0)
    answer = viewer.goto(f"{direct(world)}roll-back?fleet={story.FLEET}")
    assert answer is not None
    assert answer.status == 403
    expect(viewer.locator("h1")).to_have_text("You may not do this")


def post(world: World, role: str | None, **headers: str) -> int:
    """Send the answer to a question without having been asked; return the status."""
    cookies = {} if role is None else {"_token": world.token(role)}
    with httpx.Client(base_url=world.found.airflow_url, trust_env=False, timeout=30) as client:
        data = {"fleet": story.FLEET, "seen": "x", "run": "page-x-1", "reason": "x", "sure": "yes"}
        client.cookies.update(cookies)
        return client.post("/greenlight/roll-back", data=data, headers=headers).status_code


def test_airflow_decides_and_a_foreign_page_is_refused(world: World) -> None:
    ours = {"Origin": world.found.airflow_url}
    assert post(world, None, **ours) == 401
    assert post(world, "viewer", **ours) == 403
    assert post(world, "admin", Origin="http://evil.example") == 403
    assert post(world, "admin") == 403
    assert post(world, "admin", **ours) == 409  # it was heard: what was seen isn't what there is


# --- acting: these change the story, in this order ------------------------------------------------


def journal_of(world: World) -> DatabaseJournal:
    return DatabaseJournal(database.open_engine(world.found.database_url))


def test_advice_is_dismissed_after_a_question(page: Page, world: World) -> None:
    inside = framed(page, world)
    inside.get_by_role("link", name="Dismiss the advice for gpu-2").click()
    expect(inside.locator("h1")).to_have_text("Dismiss the advice for gpu-2?")
    inside.get_by_role("button", name="Dismiss").click()  # without a reason: the browser asks
    expect(inside.locator("h1")).to_have_text("Dismiss the advice for gpu-2?")
    inside.get_by_label("Why").fill("a rush is coming")
    inside.get_by_role("button", name="Dismiss").click()
    expect(inside.locator(".notice")).to_contain_text("The advice is dismissed")
    costs = DatabaseCosts(database.open_engine(world.found.database_url))
    kept = next(one for one in costs.advice() if one.id == "size/gpu-2")
    assert (kept.state, kept.reason) == (State.DISMISSED, "a rush is coming")
    assert kept.changed_by == "admin"


def test_a_question_that_is_cancelled_starts_nothing(page: Page, world: World) -> None:
    inside = framed(page, world)
    inside.get_by_role("link", name="Go back now…").click()
    inside.get_by_role("link", name="Cancel").click()
    expect(inside.locator("h1")).to_have_text("Greenlight")
    runs = call(world.found, "GET", f"/api/v2/dags/{GO_BACK}/dagRuns")["dag_runs"]
    assert runs == []


def test_going_back_is_asked_recorded_and_done_by_a_worker(page: Page, world: World) -> None:
    inside = framed(page, world)
    inside.get_by_role("link", name="Go back now…").click()
    expect(inside.locator("h1")).to_have_text("Go back now on fleet demo?")
    inside.get_by_label("Why").fill("answers are <odd>")
    inside.get_by_role("button", name="Go back now").click()
    expect(inside.locator(".notice")).to_contain_text("Going back was started")
    (run,) = call(world.found, "GET", f"/api/v2/dags/{GO_BACK}/dagRuns")["dag_runs"]
    assert run["triggering_user_name"] == "admin"
    name = run["dag_run_id"]
    state = end_of(world.api, GO_BACK, name, within_s=300)
    assert state == "success", world.api.why_failed(GO_BACK, name)
    made = progress(journal_of(world).events(story.RUNNING))
    assert (made.outcome, made.reason) == (Outcome.ROLLED_BACK, "admin: answers are <odd>")
    page.goto(direct(world))
    expect(page.locator("#rollouts")).to_contain_text("No rollout is on its way")
    expect(page.locator("#history tbody tr").first).to_contain_text("admin: answers are <odd>")


def test_an_older_version_is_brought_back_by_a_deploy(page: Page, world: World) -> None:
    inside = framed(page, world)
    inside.get_by_role("link", name="Roll back to 6…").click()
    expect(inside.get_by_label("How")).to_have_value("blue_green")
    inside.get_by_label("Why").fill("seven forgets")
    inside.get_by_role("button", name="Start the roll-back").click()
    expect(inside.locator(".notice")).to_contain_text("Going back was started")
    (run,) = call(world.found, "GET", f"/api/v2/dags/{DEPLOY}/dagRuns")["dag_runs"]
    assert run["conf"]["version"] == 6
    assert run["conf"]["rollout"] == "blue_green"
    assert (run["triggering_user_name"], run["note"]) == ("admin", "seven forgets")
    inside.get_by_role("link", name="Follow it in Airflow").click()
    page.wait_for_url(re.compile(f"/dags/{DEPLOY}/runs/{run['dag_run_id']}"))
