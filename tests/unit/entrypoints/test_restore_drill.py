from dataclasses import replace
from random import Random

import pytest
from backup_homes import BackupHome

from greenlight.backup.history import RESTORE, DrillRecord
from greenlight.backup.ladder import Outcome, Rung
from greenlight.backup.sets import Recorded
from greenlight.core.errors import (
    ConfigError,
    GateError,
    InputError,
    ProcessDiedError,
    ResourceError,
    UnavailableError,
)
from greenlight.entrypoints import restore_drill
from greenlight.entrypoints.restore_drill import Climb, choose, next_region, require_passed

RECORDED = Recorded(
    model="small", version=1, digest=64 * "a", prompt="?", tokens=(1, 2), text="the sea"
)
PASS, FAIL, INCONCLUSIVE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE


def fails(error):
    def fail(*_, **__):
        raise error

    return fail


class RestoredInMemory:
    """A restored home whose services are answers. A test replaces what shall go wrong."""

    def __init__(self, databases):
        self.databases = databases
        self.is_open = False
        self.start_databases = lambda: "recovered"
        self.disagreements = lambda: ()
        self.start_mlflow = lambda: "MLflow tells all"
        self.fetch = lambda recorded: "a folder"

    def __enter__(self):
        self.is_open = True
        return self

    def __exit__(self, *_):
        self.is_open = False


class Drilled:
    """A home with two sets, what is restored from it, and a drill that may go wrong."""

    def __init__(self, tmp_path):
        self.home = BackupHome(tmp_path)
        self.home.databases.tables["mlflow.public.runs"] = 3
        self.home.tools = replace(self.home.tools, record_tokens=lambda: RECORDED)
        self.home.backups = type(self.home.backups)(self.home.tools)
        for _ in range(2):
            self.home.run()
        self.choice = choose(self.home.tools, region="b", random=Random(1))
        self.restored = RestoredInMemory(self.home.databases.restored_to(self.choice.at))
        self.compare = lambda recorded, folder: None
        self.scratch = tmp_path / "scratch"

    def climb(self):
        drill = Climb(
            tools=self.home.tools, compare=self.compare, choice=self.choice, scratch=self.scratch,
            say=self.home.said.append, open_home=lambda settings, folder: self.restored,
        ).climb()  # fmt: skip
        assert not self.restored.is_open
        return drill

    def outcomes(self):
        return {result.rung: result.outcome for result in self.climb().rungs}


@pytest.fixture
def drilled(tmp_path):
    return Drilled(tmp_path)


def test_every_rung_passes_and_what_was_measured_is_told(drilled):
    drill = drilled.climb()
    assert [result.rung for result in drill.rungs] == list(Rung)
    assert drill.outcome is PASS
    assert (drill.rows_lost, drill.rows_ahead) == (0, 0)
    assert drill.target_at == drilled.choice.at
    assert drill.set_id == drilled.home.stores["b"].ids()[-1]
    require_passed(drill)


def test_recovery_time_is_that_of_the_rungs_a_recovery_climbs_too(drilled):
    drill = drilled.climb()
    seconds = {result.rung: result.seconds for result in drill.rungs}
    assert drill.rto_s == sum(seconds[rung] for rung in restore_drill.RECOVERY)
    assert drill.rto_s < sum(seconds.values())


def manifest_is_tampered_with(drilled):
    drilled.home.stores["b"].tampered |= set(drilled.home.stores["b"].ids())


def region_is_away(drilled):
    drilled.home.regions.away.add("b")


def a_page_is_bad(drilled):
    for copy in drilled.home.copies.copies("b"):
        drilled.home.copies.damage["b", copy.label] = ["a page is bad"]


def files_can_not_be_read_now(drilled):
    drilled.home.files.verify = fails(UnavailableError("the store does not answer"))


def restoring_finds_damage(drilled):
    drilled.home.files.restore = fails(InputError("a pack is gone"))


def no_disk_to_restore_to(drilled):
    drilled.home.files.restore = fails(ResourceError("the disk is full"))


def server_ends_while_it_recovers(drilled):
    drilled.restored.start_databases = fails(ProcessDiedError("invalid page in block 7"))


def server_takes_too_long(drilled):
    drilled.restored.start_databases = fails(UnavailableError("not healthy after 300 s"))


def databases_hold(drilled, **changes):
    """Let the restored databases say something else than they should."""
    for name, value in changes.items():
        setattr(drilled.restored.databases, name, value)


def home_says(drilled, **changes):
    """Let the restored home say something else than it should."""
    for name, value in changes.items():
        setattr(drilled.restored, name, value)


def a_row_is_missing(drilled):
    rows = drilled.restored.databases.sentinels()
    databases_hold(drilled, sentinels=lambda: rows[1:])


def a_later_row_is_there(drilled):
    databases_hold(drilled, sentinels=drilled.home.databases.sentinels)


AWAY = UnavailableError("the databases did not answer")


@pytest.mark.parametrize(
    ("rung", "goes_wrong", "outcome"),
    [
        (Rung.SET_PRESENT, manifest_is_tampered_with, FAIL),
        (Rung.SET_PRESENT, region_is_away, INCONCLUSIVE),
        (Rung.HASHES, a_page_is_bad, FAIL),
        (Rung.HASHES, files_can_not_be_read_now, INCONCLUSIVE),
        (Rung.RESTORES, restoring_finds_damage, FAIL),
        (Rung.RESTORES, no_disk_to_restore_to, INCONCLUSIVE),
        (Rung.STARTS, server_ends_while_it_recovers, FAIL),
        (Rung.STARTS, server_takes_too_long, INCONCLUSIVE),
        (Rung.SENTINELS, a_row_is_missing, FAIL),
        (Rung.SENTINELS, a_later_row_is_there, FAIL),
        (Rung.SENTINELS, lambda d: databases_hold(d, sentinels=fails(AWAY)), INCONCLUSIVE),
        (Rung.ENGINE_CHECKS, lambda d: databases_hold(d, findings=["a bad index"]), FAIL),
        (Rung.ENGINE_CHECKS, lambda d: databases_hold(d, damage=fails(AWAY)), INCONCLUSIVE),
        (Rung.ROW_COUNTS, lambda d: databases_hold(d, tables={}), FAIL),
        (Rung.ROW_COUNTS, lambda d: databases_hold(d, rows=fails(AWAY)), INCONCLUSIVE),
        (
            Rung.REGISTRY_FILES,
            lambda d: home_says(d, disagreements=lambda: ("x",)),
            FAIL,
        ),
        (
            Rung.REGISTRY_FILES,
            lambda d: home_says(d, disagreements=fails(AWAY)),
            INCONCLUSIVE,
        ),
        (
            Rung.MLFLOW_STARTS,
            lambda d: home_says(d, start_mlflow=fails(InputError("tells 1 of 2"))),
            FAIL,
        ),
        (
            Rung.MLFLOW_STARTS,
            lambda d: home_says(d, start_mlflow=fails(ProcessDiedError("it ended"))),
            INCONCLUSIVE,
        ),
        (
            Rung.CHAMPION_LOADS,
            lambda d: home_says(d, fetch=fails(InputError("not its digest"))),
            FAIL,
        ),
        (
            Rung.CHAMPION_LOADS,
            lambda d: setattr(d, "compare", fails(ConfigError("no ML environment"))),
            INCONCLUSIVE,
        ),
        (
            Rung.CHAMPION_GENERATES,
            lambda d: setattr(d, "compare", lambda recorded, folder: "says something else"),
            FAIL,
        ),
    ],
)
def test_a_rung_that_goes_wrong_says_so_and_the_drill_does_not_pass(
    drilled, rung, goes_wrong, outcome
):
    goes_wrong(drilled)
    drill = drilled.climb()
    found = {result.rung: result.outcome for result in drill.rungs}
    assert found[rung] is outcome
    assert drill.outcome is not PASS
    if outcome is FAIL:
        assert drill.outcome is FAIL
    with pytest.raises(GateError):
        require_passed(drill)


def test_nothing_is_climbed_without_a_set(drilled):
    manifest_is_tampered_with(drilled)
    drill = drilled.climb()
    assert [result.rung for result in drill.rungs] == [Rung.SET_PRESENT]
    assert (drill.set_id, drill.rto_s, drill.rows_lost) == (None, None, None)


def test_a_machine_without_room_proves_nothing_about_the_set(drilled):
    copies = drilled.home.copies._copies["b"]
    copies[:] = [replace(copy, database_bytes=10**18) for copy in copies]
    assert drilled.outcomes() == {Rung.SET_PRESENT: INCONCLUSIVE}


def test_hashes_that_fail_keep_nobody_from_trying_to_restore(drilled):
    drilled.home.files.verify = lambda region, snapshot: ("a byte is flipped",)
    found = drilled.outcomes()
    assert found.pop(Rung.HASHES) is FAIL
    assert set(found.values()) == {PASS}


def test_a_database_that_does_not_start_is_the_last_rung(drilled):
    server_takes_too_long(drilled)
    assert list(drilled.outcomes())[-1] is Rung.STARTS


def test_a_damaged_index_does_not_keep_the_champion_from_being_asked(drilled):
    databases_hold(drilled, findings=["a bad index"])
    drill = drilled.climb()
    assert drill.rungs[-1].outcome is PASS
    assert drill.rto_s is not None


def test_a_champion_that_could_not_be_asked_has_said_nothing_wrong(drilled):
    drilled.compare = fails(ConfigError("no ML environment"))
    drill = drilled.climb()
    assert [r.outcome for r in drill.rungs[-2:]] == [INCONCLUSIVE, INCONCLUSIVE]
    assert drill.outcome is INCONCLUSIVE
    assert drill.rto_s is None


def test_a_set_without_recorded_tokens_leaves_the_last_rungs_unproven(tmp_path):
    drilled = Drilled(tmp_path)
    drilled.home.tools = replace(drilled.home.tools, record_tokens=lambda: None)
    type(drilled.home.backups)(drilled.home.tools).run(by="test", say=drilled.home.said.append)
    until = drilled.home.stores["b"].get(drilled.home.stores["b"].ids()[-1]).point.at
    drilled.choice = replace(drilled.choice, at=until)
    assert drilled.outcomes()[Rung.CHAMPION_LOADS] is INCONCLUSIVE


def test_lost_rows_are_counted(drilled):
    a_row_is_missing(drilled)
    drill = drilled.climb()
    assert (drill.rows_lost, drill.rows_ahead) == (1, 0)


def test_a_source_that_is_lost_after_the_choice_leaves_known_how_far_the_region_was_behind(drilled):
    drilled.home.databases.away = True
    assert drilled.climb().rpo_s > 0


def test_how_far_the_region_was_behind_is_unknown_when_the_source_is_gone(drilled):
    drilled.home.databases.away = True
    assert restore_drill.archived_at(drilled.home.tools) is None
    drilled.choice = replace(drilled.choice, archived_at=None)
    assert drilled.climb().rpo_s is None


def test_an_instant_is_chosen_between_two_sentinels_that_the_region_can_restore(tmp_path):
    home = BackupHome(tmp_path)
    home.run()
    home.run()
    (inventory,) = home.backups.inventories("a")
    for seed in range(50):
        choice = choose(home.tools, region="a", random=Random(seed))
        times = [sentinel.at for sentinel in choice.expected]
        assert min(times) < choice.at < max(times)
        assert inventory.copies[0].ended_at < choice.at <= inventory.sets[-1].point_at


def test_a_region_without_a_set_can_not_be_drilled(tmp_path):
    home = BackupHome(tmp_path)
    with pytest.raises(GateError, match="region a has no set to restore"):
        choose(home.tools, region="a", random=Random(1))


def test_a_set_that_is_known_to_be_damaged_is_not_drilled(tmp_path):
    home = BackupHome(tmp_path)
    backup = home.run().backup
    home.copies.damage["a", backup.copy_in("a").database_label] = ["a page is bad"]
    home.backups.verify(say=home.said.append)
    with pytest.raises(GateError, match="region a has no set to restore"):
        choose(home.tools, region="a", random=Random(1))
    assert choose(home.tools, region="b", random=Random(1))


def test_an_instant_that_no_sentinel_proves_is_not_chosen(tmp_path):
    home = BackupHome(tmp_path)
    home.run()
    home.databases._sentinels.clear()
    with pytest.raises(GateError, match="between two sentinels"):
        choose(home.tools, region="a", random=Random(1))


def test_the_region_that_was_drilled_longest_ago_is_next(drilled):
    history, tools = drilled.home.history, drilled.home.tools
    assert next_region(tools) == "a"
    for region, expected in (("a", "b"), ("b", "a"), ("a", "b")):
        drill = drilled.climb().model_copy(update={"region": region})
        history.add_drill(DrillRecord(kind=RESTORE, drill=drill, outcome=drill.outcome))
        assert next_region(tools) == expected
