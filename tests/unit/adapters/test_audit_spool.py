import asyncio
import json
import os

import pytest

from greenlight.adapters import audit_spool
from greenlight.adapters.audit_spool import AuditSpool, read_witness
from greenlight.adapters.audit_spool_file import SpoolFile
from greenlight.core.errors import ConfigError, InputError, ResourceError, UnavailableError
from greenlight.gateway.audit import AuditEvent, EventName
from greenlight.gateway.audit_check import Verdict
from greenlight.gateway.stores import SpoolPart
from greenlight.testing.audit_contract import AUDIT_SECRET, checked
from greenlight.testing.manual_clock import ManualClock
from greenlight.testing.memory_gateway import MemoryAudit

EVERY_S = 0.01


class World:
    def __init__(self, folder):
        self.folder = folder / "audit of a gateway"
        self.clock, self.store = ManualClock(), MemoryAudit(secret=AUDIT_SECRET)

    def run(self, work, **settings):
        """Run `work(spool)` while a spool is open."""

        async def opened():
            spool = AuditSpool(
                self.folder, self.store, clock=self.clock, every_s=EVERY_S, **settings
            )
            async with spool:
                return await work(spool)

        return asyncio.run(opened())

    def left(self, *lines):
        """Leave a file as a process that was killed leaves it."""
        file = SpoolFile.create(self.folder)
        for line in lines:
            file.write(line if isinstance(line, bytes) else f"{json.dumps(line)}\n".encode())
        file.close()
        return file.name

    @property
    def files(self):
        return sorted(self.folder.glob("*.jsonl"))

    @property
    def requests(self):
        return [one.record.detail.get("n") for one in self.store.find(event="request")]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


async def settle(spool):
    """Wait until nothing waits."""
    for _ in range(500):
        await asyncio.sleep(EVERY_S)
        if spool.waiting_bytes == 0:
            return
    raise AssertionError("records still wait")


def line(number):
    return {
        "at": "2026-11-24T12:00:00+00:00", "event": "request", "subject": "sub_1",
        "tenant": "acme", "detail": {"n": number},
    }  # fmt: skip


def test_records_reach_the_chain_while_it_runs(world):
    async def work(spool):
        for number in range(3):
            spool.record("request", {"n": number, "subject": "sub_1", "tenant": "acme"})
        await settle(spool)
        return world.requests

    assert world.run(work) == [0, 1, 2]
    found = world.store.find()[0]
    assert (found.subject, found.record.tenant, found.record.at) == (
        "sub_1", "acme", world.clock.now(),
    )  # fmt: skip
    assert checked(world.store).verdict is Verdict.PASS


def test_a_record_is_in_the_file_when_the_call_returns(world):
    async def work(spool):
        spool.record("request", {"n": 1})
        return [path.read_bytes().count(b"\n") for path in world.files]

    assert world.run(work) == [1]


def test_nothing_is_left_of_a_process_that_ended_well(world):
    async def work(spool):
        spool.record("request", {"n": 1})

    world.run(work)
    assert world.files == []
    assert world.store.spools == {}
    assert world.requests == [1]


def test_what_a_killed_process_left_is_shipped_by_the_next(world):
    world.left(line(1), line(2))
    world.run(settle)
    assert world.requests == [1, 2]
    assert world.files == []
    assert world.store.spools == {}


def test_what_was_shipped_before_the_kill_is_not_shipped_again(world):
    name = world.left(line(1), line(2))
    part = SpoolPart(spool=name, start=0, end=len(json.dumps(line(1))) + 1)
    world.store.append([AuditEvent.from_json(line(1))], part=part)
    world.run(settle)
    assert world.requests == [1, 2]


def test_a_batch_whose_answer_was_lost_is_in_the_chain_once(world):
    append, lost = world.store.append, []

    def append_and_lose(events, **about):
        head = append(events, **about)
        if events and not lost:
            lost.append(head)
            raise UnavailableError("the connection broke after the commit")
        return head

    world.store.append = append_and_lose

    async def work(spool):
        spool.record("request", {"n": 1})
        await settle(spool)
        spool.record("request", {"n": 2})

    world.run(work)
    assert world.requests == [1, 2]
    assert lost


def test_while_the_database_is_away_records_wait_and_nobody_else_does(world):
    world.store.away = True

    async def work(spool):
        for number in range(100):
            spool.record("request", {"n": number})
        await asyncio.sleep(5 * EVERY_S)
        waiting = spool.waiting_bytes
        world.store.away = False
        await settle(spool)
        return waiting

    assert world.run(work) > 1000
    assert world.requests == list(range(100))


def test_what_could_not_be_shipped_at_the_end_is_left_for_the_next(world):
    world.store.away = True

    async def work(spool):
        spool.record("request", {"n": 1})

    world.run(work)
    assert len(world.files) == 1
    world.store.away = False
    world.run(settle)
    assert world.requests == [1]
    assert world.files == []


def test_a_file_of_a_process_that_lives_is_left_alone(world):
    other = SpoolFile.create(world.folder)
    other.write(f"{json.dumps(line(1))}\n".encode())
    world.run(settle)
    assert world.requests == []
    assert other.path.exists()
    other.close()
    world.run(settle)
    assert world.requests == [1]


def test_a_file_is_taken_over_by_one_process(world):
    world.left(line(1))
    first = SpoolFile.adopt(world.files[0])
    assert SpoolFile.adopt(world.files[0]) is None
    first.remove()
    assert SpoolFile.adopt(first.path) is None


def test_a_line_that_power_was_lost_in_is_told_and_the_rest_is_kept(world):
    world.left(
        line(1),
        b'{"at": "2026-11',
    )
    world.run(settle)
    assert world.requests == [1]
    torn = world.store.find(event=EventName.TORN)[0].record
    assert torn.detail["offset"] == len(json.dumps(line(1))) + 1
    assert world.files == []


@pytest.mark.parametrize(
    "bad",
    [
        b"\n", b"[]\n", b"7\n", b"null\n", b'{"event": "request"}\n', b"\x00\x00\xff\n",
        b'{"identity": "alice"}\n', b'{"identity": "a\\u0000", "subject": "s"}\n',
        b'{"identity": {}, "subject": "s"}\n',
    ],
)  # fmt: skip
def test_a_line_that_is_no_record_stops_no_other(world, bad):
    world.left(line(1), bad, line(2))
    world.run(settle)
    assert world.requests == [1, 2]
    assert len(world.store.find(event=EventName.TORN)) == 1


def test_a_long_file_is_shipped_in_batches(world, monkeypatch):
    monkeypatch.setattr(audit_spool, "BATCH_BYTES", 300)
    appended, append = [], world.store.append

    def count(events, **about):
        appended.append(len(events))
        return append(events, **about)

    world.store.append = count
    world.left(*(line(number) for number in range(10)))
    world.run(settle)
    assert world.requests == list(range(10))
    assert max(appended) < 5


def test_a_full_file_gives_way_to_a_new_one_without_losing_a_record(world):
    async def work(spool):
        seen = set()
        for number in range(60):
            spool.record("request", {"n": number})
            await asyncio.sleep(EVERY_S / 4)
            seen |= set(world.files)
        return seen

    assert len(world.run(work, rotate_bytes=500)) > 1
    assert world.requests == list(range(60))
    assert world.files == []


def test_who_somebody_is_is_written_once_a_day(world):
    async def work(spool):
        for _ in range(3):
            spool.identify("sub_1", "https://idp alice")
        spool.record("request", {"subject": "sub_1"})
        lines = world.files[0].read_text().count("\n")
        world.clock.advance(24 * 3600)
        spool.identify("sub_1", "https://idp alice")
        return lines, world.files[0].read_text().count("\n")

    assert world.run(work) == (2, 3)
    assert world.store.find()[0].identity == "https://idp alice"


def test_a_record_that_is_none_is_a_bug_of_the_caller(world):
    async def work(spool):
        with pytest.raises(InputError):
            spool.record("No Event", {})
        with pytest.raises(InputError):
            spool.record("request", {"nan": float("nan")})

    world.run(work)


@pytest.mark.parametrize("written", [0, 7])
def test_on_a_full_disk_a_record_is_kept_whole_or_refused(world, monkeypatch, written):
    async def work(spool):
        spool.record("request", {"n": 1})
        write = os.write

        def full(handle, data):
            return write(handle, data[:written])

        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            with pytest.raises(ResourceError, match="disk is full"):
                spool.record("request", {"n": 2})
        spool.record("request", {"n": 3})
        await settle(spool)

    world.run(work)
    assert world.requests == [1, 3]
    assert world.store.find(event=EventName.TORN) == ()


def test_the_end_of_the_log_is_witnessed_beside_the_spools(world):
    async def work(spool):
        spool.record("request", {"n": 1})

    world.run(work)
    witness = read_witness(world.folder)
    assert (witness.number, witness.hash) == (1, world.store.stored[-1].hash)


def test_a_log_that_was_set_back_says_so(world):
    async def work(spool):
        spool.record("request", {"n": 1})

    world.run(work)
    empty = MemoryAudit(secret=AUDIT_SECRET)
    world.store = empty
    world.run(work)
    said = [one.record.event for one in empty.find()]
    assert said == [EventName.SET_BACK, "request"]
    assert empty.find()[0].record.detail["was"] == 1
    world.run(work)
    assert len(empty.find(event=EventName.SET_BACK)) == 1


def test_a_spool_whose_database_was_set_back_ships_again(world):
    async def work(spool):
        spool.record("request", {"n": 1})
        await settle(spool)
        world.store.stored.clear()
        world.store.anchors.clear()
        world.store.spools.clear()
        spool.record("request", {"n": 2})
        await settle(spool)

    world.run(work)
    assert world.requests == [1, 2]
    assert world.store.find(event=EventName.SET_BACK)


def test_a_witness_that_somebody_wrote_to_stops_the_start(world):
    world.folder.mkdir(parents=True)
    (world.folder / audit_spool.WITNESS).write_text('{"number": 0}')
    with pytest.raises(InputError, match=r"head\.json"):
        world.run(settle)


def test_an_end_that_we_did_not_sign_keeps_records_waiting(world):
    def refuse(*_, **__):
        raise ConfigError("the end of the audit log is not signed with this secret")

    world.store.append = refuse

    async def work(spool):
        spool.record("request", {"n": 1})
        await asyncio.sleep(3 * EVERY_S)
        return spool.waiting_bytes

    assert world.run(work) > 0
    assert len(world.files) == 1


def test_spools_are_for_their_owner_only(world):
    world.left(line(1))
    assert world.folder.stat().st_mode & 0o777 == 0o700
    assert world.files[0].stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_read_keeps_only_itself(world):
    (world.folder / "broken.jsonl").mkdir(parents=True)

    async def work(spool):
        spool.record("request", {"n": 1})
        await settle(spool)

    world.run(work)
    assert world.requests == [1]


def test_a_spool_that_cannot_be_forgotten_is_gone_all_the_same(world):
    forget, failed = world.store.forget, []

    def fail_once(spool):
        if not failed:
            failed.append(spool)
            raise UnavailableError("away for a moment")
        forget(spool)

    world.store.forget = fail_once
    world.left(line(1))

    async def work(spool):
        await settle(spool)
        spool.record("request", {"n": 2})
        await settle(spool)

    world.run(work)
    assert world.requests == [1, 2]
    assert world.files == []


def test_without_room_for_another_file_the_full_one_goes_on(world, monkeypatch):
    def no_room(folder):
        raise OSError(28, "No space left on device")

    async def work(spool):
        with monkeypatch.context() as patched:
            patched.setattr(SpoolFile, "create", no_room)
            for number in range(20):
                spool.record("request", {"n": number})
                await asyncio.sleep(EVERY_S / 2)
        spool.record("request", {"n": 20})
        await settle(spool)

    world.run(work, rotate_bytes=100)
    assert world.requests == list(range(21))
    assert world.files == []
