import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser

import pytest

from greenlight.adapters.page import render
from greenlight.adapters.page.panels import (
    AdvicePanel,
    BackupsPanel,
    CostPanel,
    FleetCard,
    FleetsPanel,
    Health,
    HistoryPanel,
    OfferedAdvice,
    PanelName,
    PastRollout,
    ReviewPanel,
    RolloutsPanel,
    ScheduleCard,
    SchedulesPanel,
    SlotRow,
    Unread,
    WaitingSchedule,
    WaitingVersion,
    WayBack,
)
from greenlight.adapters.page.render import Notice, Visitor
from greenlight.adapters.page.strip import strip_of
from greenlight.cost.report import AdviceRow
from greenlight.deploy.colours import Colour
from greenlight.scaling.schedule import Size

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
ANA = Visitor(name="ana", may_go_back=True, may_answer=True)
VIEWER = Visitor(name="eve")
HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=y>"
ROW = AdviceRow(
    host="gpu-1", resource="cpu", finding="Overprovisioned", reasons=(), now="unknown",
    target="small", monthly_saving=Decimal("292"), risk=1, effort="Low", over=0.001, slack=0.4,
    tried_days=21, why="used little", state="open",
)  # fmt: skip
SLOT = SlotRow(
    host="gpu-1", colour=Colour.GREEN, role="live", version=7, digest="d" * 64,
    health=Health.SERVING, share=1.0,
)  # fmt: skip
PAST = PastRollout(
    fleet="demo", id="r", version=6, digest="d" * 64, colour=Colour.BLUE, outcome="live",
    reason="serves", started_at=NOON, started_by="ana", is_live=False, can_go_back=True,
)  # fmt: skip
NOTHING = {
    PanelName.FLEETS: FleetsPanel(fleets=()),
    PanelName.ROLLOUTS: RolloutsPanel(running=()),
    PanelName.REVIEW: ReviewPanel(versions=(), schedules=()),
    PanelName.HISTORY: HistoryPanel(rows=(), shown_of=0),
    PanelName.COST: CostPanel(currency="EUR", today=None, today_hours=0, today_missing=0),
    PanelName.ADVICE: AdvicePanel(currency="EUR", advice=(), monthly_saving=Decimal(0)),
    PanelName.SCHEDULES: SchedulesPanel(
        fleets=(
            ScheduleCard(
                fleet="demo", digest=None, applied_at=None, applied_by="", expected_slo_pct=None,
                gpu_hours=None, now=None, ahead=(), days=(), replay=None,
            ),
        )
    ),
    PanelName.BACKUPS: BackupsPanel(
        runs=(), regions=("a",), drills=(), faults=(), rto_s=900, rpo_s=900
    ),
}  # fmt: skip


def fleets(**changes):
    card = FleetCard(
        name="demo", model="chat", slots=(replace(SLOT, **changes),), changed_by=None,
        why_no_router=None,
    )  # fmt: skip
    return FleetsPanel(fleets=(card,))


def page(panels=NOTHING, visitor=ANA, notice=None):
    return render.render_page(panels, visitor=visitor, read_at=NOON, notice=notice)


def inside(name, panel, visitor=ANA):
    return render.render_panel(name, panel, visitor=visitor)


def text(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


class Balance(HTMLParser):
    """Finds a tag that is not closed, or closed without being open."""

    VOID = ("meta", "link", "input", "br")

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def tags(html):
    parser = Balance()
    parser.feed(html)
    assert parser.open == []
    return parser.seen


def test_every_panel_says_that_there_is_nothing_yet_and_none_says_0():
    said = text(page())
    for sentence in (
        "fleet.yaml has no fleet", "No rollout is on its way", "No version waits",
        "No schedule waits", "Nothing was deployed yet", "no hour of today has a bill yet",
        "No cost report yet", "No advice", "No schedule is applied", "No replay yet",
        "No backup was made yet", "No restore was tried from region a yet",
    ):  # fmt: skip
        assert sentence in said, sentence
    assert "0.00" not in said


def test_a_panel_that_cannot_be_read_says_why_beside_the_others():
    said = text(page(NOTHING | {PanelName.COST: Unread(why="MLflow does not answer")}))
    assert "could not be read MLflow does not answer" in said
    assert "Nothing was deployed yet" in said


def test_what_could_not_be_read_is_tried_again_soon():
    every = 'data-panel="cost" data-every="{}"'
    assert every.format(render.CALM_S) in page()
    assert every.format(render.LIVE_S) in page(NOTHING | {PanelName.COST: Unread(why="x")})


def test_a_page_is_whole_and_has_one_heading_and_a_name_for_each_section():
    seen = tags(page())
    assert [tag for tag, _ in seen].count("h1") == 1
    named = {attrs["aria-labelledby"] for tag, attrs in seen if tag == "section"}
    assert named == {attrs["id"] for tag, attrs in seen if tag == "h2"}


def test_nothing_is_loaded_from_elsewhere_and_no_script_or_style_is_inside():
    for tag, attrs in tags(page()):
        assert "style" not in attrs
        assert not any(name.startswith("on") for name in attrs), (tag, attrs)
        for name in ("src", "action"):
            assert "//" not in attrs.get(name, ""), (tag, attrs)
        if tag == "link":
            assert attrs["href"] in render.STATIC
    assert "<style" not in page()
    assert set(re.findall(r"<script[^>]*>", page())) == {'<script src="page.js">'}


def test_every_table_has_a_caption_and_headers_with_a_scope():
    html = inside(PanelName.FLEETS, fleets())
    seen = tags(html)
    assert html.count("<caption") == html.count("<table") == 1
    assert all(attrs.get("scope") in ("row", "col") for tag, attrs in seen if tag == "th")


def test_what_is_unknown_is_said_and_is_no_0():
    slot = {"version": None, "digest": None, "health": Health.UNKNOWN, "share": None}
    said = text(inside(PanelName.FLEETS, fleets(**slot)))
    assert "? unknown" in said
    assert "0 %" not in said
    html = inside(PanelName.COST, NOTHING[PanelName.COST])
    assert "unknown" in text(html)


def test_hours_without_a_bill_make_today_an_at_least():
    panel = CostPanel(currency="EUR", today=Decimal("3.5"), today_hours=10, today_missing=2)
    assert "3.50 EUR at least: 2 of 10 h have no bill" in text(inside(PanelName.COST, panel))


HOSTILE_PANELS = {
    PanelName.FLEETS: fleets(host=HOSTILE, role=HOSTILE),
    PanelName.HISTORY: HistoryPanel(
        rows=(replace(PAST, fleet=HOSTILE, reason=HOSTILE, started_by=HOSTILE),), shown_of=1
    ),
    PanelName.REVIEW: ReviewPanel(
        versions=(
            WaitingVersion(model=HOSTILE, version=1, digest="d" * 64, recipe=HOSTILE,
                           verdict=HOSTILE, made_at=NOON, why=HOSTILE, url="javascript:x"),
        ),
        schedules=(WaitingSchedule(fleet=HOSTILE, digest="d", made_at=NOON, why=HOSTILE),),
    ),
    PanelName.ADVICE: AdvicePanel(
        currency="EUR", monthly_saving=Decimal(1),
        advice=(OfferedAdvice(id=HOSTILE, row=replace(ROW, host=HOSTILE, why=HOSTILE),
                              changed_by="", reason=""),),
    ),
    PanelName.COST: Unread(why=HOSTILE),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_PANELS)
def test_hostile_text_stays_text(name):
    html = inside(name, HOSTILE_PANELS[name])
    seen = tags(html)
    assert not {"script", "img"} & {tag for tag, _ in seen}
    assert "alert(" in html
    assert not any(attrs.get("href", "").startswith("javascript") for _, attrs in seen)


def test_only_who_may_sees_the_way_back_and_the_answers():
    history = HistoryPanel(rows=(PAST,), shown_of=1)
    offered = OfferedAdvice(id="size/gpu-1", row=ROW, changed_by="", reason="")
    advice = AdvicePanel(currency="EUR", advice=(offered,), monthly_saving=Decimal(292))
    for name, panel, word in (
        (PanelName.HISTORY, history, "Roll back to 6"),
        (PanelName.ADVICE, advice, "Accept…"),
    ):
        assert word in text(inside(name, panel))
        assert word not in text(inside(name, panel, VIEWER))


def test_an_address_of_a_link_is_escaped():
    html = inside(PanelName.HISTORY, HistoryPanel(rows=(replace(PAST, fleet="a&b=c"),), shown_of=1))
    assert 'href="roll-back?fleet=a%26b%3Dc&amp;version=6"' in html


def way(**changes):
    fields = {
        "fleet": "demo", "running": None, "now": 7, "to": 6, "seen": "to-7",
        "ways": ("blue_green", "standard"),
    }  # fmt: skip
    return WayBack(**fields | changes)


def question(**changes):
    return render.render_way_back(
        way(**changes), run="page-demo-1", dag="deploy_blue_green", reason_max=1000
    )


def test_the_question_names_what_would_happen_and_labels_its_fields():
    html = question()
    assert "Roll fleet demo back to version 6?" in text(html)
    seen = tags(html)
    labelled = {attrs["for"] for tag, attrs in seen if tag == "label"}
    fields = {
        attrs["id"]
        for tag, attrs in seen
        if tag in ("input", "select") and attrs.get("type") != "hidden"
    }
    assert fields == labelled == {"way", "reason"}


def test_going_back_from_a_first_rollout_says_that_nobody_serves_then():
    assert "nobody serves" in text(question(running="to-7", to=None, ways=()))
    assert "nobody serves" not in text(question(running="to-7", ways=()))


def test_a_question_about_advice_says_what_an_answer_does():
    def ask(*, accept):
        return text(
            render.render_answer(
                ROW, name="size/gpu-1", accept=accept, currency="EUR", reason_max=9
            )
        )

    assert "Accepting changes no host: you do" in ask(accept=True)
    assert "Why" in ask(accept=False)


def test_a_notice_is_told_to_who_can_not_see_it_too():
    html = page(notice=Notice(says="Going back was started", href="../dags/x", link="Follow it"))
    assert '<p class="notice" role="status">Going back was started <a href="../dags/x"' in html


def test_a_refusal_says_why_and_leads_back():
    html = render.render_refusal("You may not do this", HOSTILE)
    assert "<img" not in html
    assert 'role="alert"' in html
    assert 'href="./"' in html


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "–"), (0.0, "0"), (1234, "1,234"), (0.123456, "0.123")]
)
def test_numbers_show_three_figures(value, shown):
    assert render.figures(value) == shown


def test_the_hours_ahead_are_as_tall_as_they_have_hosts():
    def size(hosts):
        return Size(minimum=hosts, desired=hosts, maximum=hosts)

    strip = strip_of([(NOON, size(0)), (NOON, size(4)), (NOON, size(2))])
    none, most, half = strip.bars
    assert none.height == 0
    assert most.height == pytest.approx(2 * half.height)
    assert (strip.lowest, strip.highest) == (0, 4)
    assert strip_of([]).bars == ()
