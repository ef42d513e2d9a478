import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest

from greenlight.adapters.drill_report import PlantedFault, lasted, render_drill, utc
from greenlight.backup.backup_file import Targets
from greenlight.backup.ladder import Drill, Outcome, Rung, RungResult

PASS, FAIL, INCONCLUSIVE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
ALL = [PASS] * len(Rung)


def a_drill(outcomes=ALL, *, days=0, region="a", says="said", **changes):
    at = NOON + timedelta(days=days)
    fields = {
        "id": f"{region}-{at:%Y%m%dT%H%M%SZ}", "began_at": at, "region": region,
        "set_id": "20261125T021407Z", "target_at": at - timedelta(seconds=99.5),
        "rungs": tuple(
            RungResult(rung=rung, outcome=outcome, says=says, seconds=1.5)
            for rung, outcome in zip(Rung, outcomes, strict=False)
        ),
        "rto_s": 41.0, "rpo_s": 30.0, "rows_lost": 0, "rows_ahead": 0,
    }  # fmt: skip
    return Drill(**(fields | changes))


def a_fault(name="flipped byte", outcome=PASS):
    return PlantedFault(name=name, outcome=outcome, says="checksum", at=NOON)


def page(drill=None, **more):
    return render_drill(drill or a_drill(), **({"targets": Targets()} | more))


def text(html):
    """What a reader sees, in one line."""
    body = re.sub(r"<style>.*?</style>", "", html, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


class Balance(HTMLParser):
    """Finds a tag that is not closed, or closed without being open."""

    VOID = ("meta", "br")

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


WORLDS = {
    "pass": a_drill(),
    "fail": a_drill([PASS, FAIL], rto_s=None, rows_lost=None, rows_ahead=None),
    "inconclusive": a_drill([INCONCLUSIVE], rto_s=None, rpo_s=None, rows_lost=None),
    "nothing": a_drill([], set_id=None, target_at=None, rto_s=None, rpo_s=None),
}


@pytest.mark.parametrize("name", WORLDS)
def test_every_kind_of_drill_is_a_whole_page_that_needs_nothing_else(name):
    html = page(WORLDS[name], past=[a_drill(days=-1, region="b")], faults=[a_fault()])
    parser = Balance()
    parser.feed(html)
    assert parser.open == []
    assert not re.search(r"<script|<link|<img|@import|https?://|\surl\(", html)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pass", "✔ pass The backup restores Restored the state of 2026-11-25 11:58:20.500 UTC"),
        ("fail", "✘ fail The backup does not restore as it should"),
        ("fail", "Rung 2, hashes, failed."),
        ("inconclusive", "? inconclusive Not proven that the backup restores"),
        ("inconclusive", "Rung 1, set present, could not be tried."),
        ("nothing", "Tried to restore from region a. Rung 1, set present, could not be tried."),
    ],
)
def test_the_head_says_in_words_what_was_proven(name, said):
    assert said in text(page(WORLDS[name]))


def test_every_rung_is_there_and_one_that_was_not_climbed_says_so():
    found = text(page(WORLDS["fail"]))
    assert all(rung in found for rung in Rung)
    assert found.count("? not climbed") == len(Rung) - 2
    assert "1 set present ✔ pass said 1.5 s 2 hashes ✘ fail said 1.5 s 3 restores ?" in found


def test_a_drill_that_lost_a_rung_in_the_middle_is_not_called_a_pass():
    assert "not climbed" in text(page(a_drill([PASS] * (len(Rung) - 1))))
    assert "The backup restores" not in text(page(a_drill([PASS] * (len(Rung) - 1))))


@pytest.mark.parametrize(
    ("changes", "figure", "outcome"),
    [
        ({"rto_s": 900.0}, "Recovery time (RTO)", "pass"),
        ({"rto_s": 900.1}, "Recovery time (RTO)", "fail"),
        ({"rto_s": None}, "Recovery time (RTO)", "inconclusive"),
        ({"rpo_s": 901.0}, "Behind (RPO)", "fail"),
        ({"rows_lost": 1}, "Rows lost", "fail"),
        ({"rows_lost": None}, "Rows lost", "inconclusive"),
        ({"rows_ahead": 2}, "Rows ahead", "fail"),
    ],
)
def test_a_figure_is_held_against_its_target(changes, figure, outcome):
    html = page(a_drill(**changes))
    assert f'is-{outcome}"><span class="dim">{figure}</span>' in html


def test_what_was_not_measured_says_so_and_is_never_zero():
    found = text(page(a_drill([FAIL], rto_s=None, rpo_s=None, rows_lost=None, rows_ahead=None)))
    for name in ("Recovery time (RTO)", "Behind (RPO)", "Rows lost", "Rows ahead"):
        assert f"{name} not measured" in found
    assert "Not measured yet." in found


def test_past_drills_are_drawn_once_each_in_any_order():
    drill = a_drill()
    past = [drill, a_drill(days=-1, region="b"), a_drill(days=-2)]
    html = page(drill, past=past)
    assert html.count('<use href="#pass" x=') == 2 * 3 + 1, "two charts and the legend"
    assert html == page(drill, past=list(reversed(past)))
    assert "3 drills" in text(html)
    assert "region b" in text(html)


def test_faults_that_nobody_noticed_come_first():
    faults = [a_fault(), a_fault("wrong key", FAIL), a_fault("dead region", INCONCLUSIVE)]
    found = text(page(faults=faults))
    order = ["wrong key ✘ not noticed", "dead region ? not tried", "flipped byte ✔ noticed"]
    assert [found.index(part) for part in order] == sorted(found.index(part) for part in order)
    assert "No fault was planted yet." in text(page())


def test_what_a_rung_said_cannot_become_part_of_the_page():
    html = page(a_drill([FAIL], says="<script>alert(1)</script> & more"))
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in html


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "not measured"), (0, "0.0 s"), (119.94, "119.9 s"), (900, "15.0 min"), (7200, "2.0 h")],
)
def test_durations_are_said_as_people_say_them(seconds, said):
    assert lasted(seconds) == said


def test_instants_are_in_utc_and_as_fine_as_they_are():
    assert utc(NOON) == "2026-11-25 12:00:00 UTC"
    assert utc(NOON + timedelta(milliseconds=7)) == "2026-11-25 12:00:00.007 UTC"
    assert utc(None) == "no instant"
