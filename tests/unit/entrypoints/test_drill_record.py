from datetime import timedelta

import pytest
from backup_homes import NOON, BackupHome

from greenlight.backup.history import RESTORE, DrillRecord
from greenlight.backup.ladder import Drill, Outcome, Rung, RungResult
from greenlight.entrypoints import drill_record
from greenlight.entrypoints.backup_faults import Planted, as_drill
from greenlight.testing.memory_registry import MemoryRegistry

PASS, FAIL, INCONCLUSIVE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
URL = "http://127.0.0.1/run"


@pytest.fixture
def home(tmp_path):
    return BackupHome(tmp_path)


def a_drill(*outcomes, rungs=tuple(Rung), says="said", name="a-1", at=NOON):
    results = tuple(
        RungResult(rung=rung, outcome=outcome, says=f"{says} {rung.name}", seconds=1)
        for rung, outcome in zip(rungs, outcomes or [PASS] * len(Rung), strict=False)
    )
    return Drill(
        id=name, began_at=at, region="a", set_id="20261125T021407Z", target_at=at, rungs=results,
        rto_s=41.0, rpo_s=30.0, rows_lost=0, rows_ahead=0,
    )  # fmt: skip


def planted(name="flipped byte", noticed="checksum", broken=None):
    return Planted(fault=name, noticed=noticed, broken=broken, false_alarm=None, seconds=2.0)


def keep(home, drill):
    """Keep it; return its address, what was logged, and the page."""
    registry = MemoryRegistry()
    url = drill_record.keep(home.tools, drill, registry=registry)
    (run,) = registry.runs.values()
    return url, run.log, run.files["report.html"].decode()


def test_a_drill_is_kept_with_the_address_of_its_report(home):
    drill = a_drill()
    url, log, page = keep(home, drill)
    assert url.endswith("/artifacts/report.html")
    assert home.history.drills(limit=9) == (
        DrillRecord(kind=RESTORE, drill=drill, outcome=PASS, report_url=url),
    )
    assert log.metrics["rto_s"] == 41
    assert "The backup restores" in page


def test_what_was_not_measured_is_no_number_of_the_run(home):
    drill = a_drill(FAIL).model_copy(update={"rto_s": None, "rows_lost": None})
    _, log, _ = keep(home, drill)
    assert {"rto_s", "rows_lost"}.isdisjoint(log.metrics)
    assert log.metrics["rungs_passed"] == 0


def test_the_sentence_about_a_failure_names_the_rung_that_failed():
    said = drill_record.says(a_drill(PASS, INCONCLUSIVE, FAIL))
    assert said.startswith("region a: fail: restores: said RESTORES")


def test_a_drill_that_stopped_climbing_says_so():
    assert "inconclusive: it was not climbed to the top" in drill_record.says(a_drill(PASS))


def test_the_report_shows_the_newest_of_each_planted_fault(home):
    for days, noticed in ((0, None), (7, "checksum of 12 is wrong")):
        at = NOON + timedelta(days=days)
        home.history.add_drill(as_drill(planted(noticed=noticed), at=at, report_url=URL))
    _, _, page = keep(home, a_drill())
    assert "flipped byte" in page
    assert "checksum of 12 is wrong" in page
    assert "nobody noticed it" not in page


def test_planted_faults_are_no_drills_of_the_trend(home):
    home.history.add_drill(as_drill(planted(), at=NOON, report_url=URL))
    _, _, page = keep(home, a_drill(name="a-2", at=NOON + timedelta(days=1)))
    assert "1 drill<" in page


@pytest.mark.parametrize(
    ("fault", "outcome", "says"),
    [
        (planted(), PASS, "checksum"),
        (planted(noticed=None), FAIL, "nobody noticed it"),
        (planted(noticed=None, broken="no object"), INCONCLUSIVE, "no object"),
    ],
)
def test_a_fault_is_kept_as_what_became_of_it(fault, outcome, says):
    record = as_drill(fault, at=NOON, report_url=URL)
    assert (record.kind, record.outcome, record.report_url) == ("flipped byte", outcome, URL)
    assert [rung.says for rung in record.drill.rungs] == [says]
