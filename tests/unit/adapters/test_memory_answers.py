import random
import tracemalloc

from greenlight.adapters.memory_answers import ENTRY_BYTES, MemoryAnswers
from greenlight.gateway.answer_counts import AnswerCounts
from greenlight.gateway.ports import KeptAnswer
from greenlight.testing.manual_clock import ManualClock

KEY = "k" * 64


def an_answer(size=100):
    return KeptAnswer(body=b"x" * size, colour="blue", at_s=0.0)


def of_size(size, *, key=KEY):
    """An answer that takes so much with everything."""
    return an_answer(size - ENTRY_BYTES - len(key) - len("blue"))


def make(max_bytes=10_000):
    clock, counts = ManualClock(), AnswerCounts()
    return MemoryAnswers(max_bytes=max_bytes, clock=clock, counts=counts), clock, counts


def test_an_answer_is_there_until_its_time_is_over():
    answers, clock, counts = make()
    answers.put(KEY, an_answer(), ttl_s=10)
    clock.advance(9.9)
    assert answers.get(KEY) == an_answer()
    clock.advance(0.1)
    assert answers.get(KEY) is None
    assert (counts.memory_expired, answers.held_bytes, len(answers)) == (1, 0, 0)
    assert answers.get(KEY) is None
    assert counts.memory_expired == 1


def test_the_least_recently_used_makes_room():
    answers, _, counts = make(max_bytes=3000)
    for key in "abc":
        answers.put(key, of_size(1000, key=key), ttl_s=10)
    answers.get("a")
    answers.put("d", of_size(1000, key="d"), ttl_s=10)
    assert [key for key in "abcd" if answers.get(key)] == ["a", "c", "d"]
    assert (counts.evicted, answers.held_bytes) == (1, 3000)


def test_a_large_answer_takes_the_room_of_several_small_ones():
    answers, _, counts = make(max_bytes=3000)
    for key in "abc":
        answers.put(key, of_size(1000, key=key), ttl_s=10)
    answers.put("d", of_size(2500, key="d"), ttl_s=10)
    assert (len(answers), counts.evicted, answers.held_bytes) == (1, 3, 2500)


def test_an_answer_larger_than_everything_drives_nothing_out():
    answers, _, counts = make(max_bytes=3000)
    answers.put("a", of_size(1000, key="a"), ttl_s=10)
    answers.put("b", of_size(3001, key="b"), ttl_s=10)
    assert (answers.get("b"), len(answers), counts.evicted) == (None, 1, 0)


def test_a_newer_answer_replaces_the_older_and_its_size():
    answers, _, counts = make(max_bytes=3000)
    answers.put("a", of_size(2000, key="a"), ttl_s=10)
    answers.put("a", of_size(1000, key="a"), ttl_s=10)
    assert (len(answers), answers.held_bytes, counts.evicted) == (1, 1000, 0)


def test_no_room_at_all_keeps_nothing():
    answers, _, _ = make(max_bytes=0)
    answers.put("a", an_answer(), ttl_s=10)
    assert answers.get("a") is None


def test_the_count_is_never_less_than_what_python_takes():
    answers, _, _ = make(max_bytes=10**9)
    chance = random.Random(1)
    tracemalloc.start()
    try:
        for number in range(2000):
            answer = KeptAnswer(
                body=chance.randbytes(chance.randint(1, 400)), colour="".join(["gr", "een"]),
                at_s=chance.random(),
            )  # fmt: skip
            answers.put(f"{number:064d}", answer, ttl_s=10)
            del answer
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.5 * answers.held_bytes < taken <= answers.held_bytes
