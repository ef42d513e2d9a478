import asyncio

import pytest
from token_worlds import KEYS, public

from greenlight.adapters.gateway_auth.key_sets import KeySet, read_key_set
from greenlight.core.errors import UnavailableError
from greenlight.testing.gateway_access import ISSUER
from greenlight.testing.manual_clock import ManualClock

ES, RS = KEYS["ES256"], KEYS["RS256"]


class Published:
    """An issuer that answers with what a test says, and counts."""

    def __init__(self, *keys):
        self.document, self.questions, self.slow = public(*keys), 0, asyncio.Event()
        self.slow.set()

    async def __call__(self):
        self.questions += 1
        await self.slow.wait()
        if self.document is None:
            raise UnavailableError("connection refused")
        return self.document


def make(*keys, **settings):
    published, clock = Published(*keys), ManualClock()
    return published, clock, KeySet(ISSUER, published, clock=clock, max_age_s=3600, **settings)


def find(key_set, key, algorithm="ES256"):
    return asyncio.run(key_set.find(key if isinstance(key, str) else key.kid, algorithm=algorithm))


def test_a_key_is_found_without_asking_again():
    published, _, key_set = make(ES)
    assert find(key_set, ES).kid == ES.kid
    assert find(key_set, ES) is not None
    assert published.questions == 1


def test_a_new_key_is_found_at_once():
    published, clock, key_set = make(ES)
    find(key_set, ES)
    clock.advance(10)
    published.document = public(ES, RS)
    assert find(key_set, RS, "RS256") is not None
    assert published.questions == 2


def test_made_up_keys_make_us_ask_once_in_ten_seconds():
    published, clock, key_set = make(ES)
    find(key_set, ES)
    clock.advance(10)
    for number in range(50):
        assert find(key_set, f"made-up-{number}") is None
    assert published.questions == 2
    clock.advance(10)
    find(key_set, "made-up")
    assert published.questions == 3


def test_all_who_wait_share_one_question():
    published, _, key_set = make(ES)

    async def crowd():
        published.slow.clear()
        asked = [asyncio.create_task(key_set.find(ES.kid, algorithm="ES256")) for _ in range(100)]
        await asyncio.sleep(0)
        published.slow.set()
        return await asyncio.gather(*asked)

    assert all(asyncio.run(crowd()))
    assert published.questions == 1


def test_who_stops_waiting_stops_nobody_else():
    published, _, key_set = make(ES)

    async def two():
        published.slow.clear()
        gone, stays = (
            asyncio.create_task(key_set.find(ES.kid, algorithm="ES256")) for _ in range(2)
        )
        await asyncio.sleep(0)
        gone.cancel()
        published.slow.set()
        return await stays

    assert asyncio.run(two()) is not None


def test_a_key_that_is_taken_back_stops_working():
    published, clock, key_set = make(ES, RS)
    find(key_set, ES)
    published.document = public(RS)
    clock.advance(3600)
    assert find(key_set, ES) is None


def test_a_set_that_stays_the_same_is_the_same_object():
    _, clock, key_set = make(ES)
    find(key_set, ES)
    before = key_set.keys
    clock.advance(3600)
    find(key_set, ES)
    assert key_set.keys is before


def test_a_key_that_is_exchanged_under_its_name_is_a_change():
    published, clock, key_set = make(ES)
    find(key_set, ES)
    before = key_set.keys
    other = ES.as_dict(private=False) | {"x": KEYS["ES384"].as_dict()["x"]}
    published.document = {"keys": [other, RS.as_dict(private=False)]}
    clock.advance(3600)
    find(key_set, RS, "RS256")
    assert key_set.keys is not before


def test_while_the_issuer_is_away_its_last_keys_open_for_a_day():
    published, clock, key_set = make(ES)
    find(key_set, ES)
    published.document = None
    for _ in range(23):
        clock.advance(3600)
        assert find(key_set, ES) is not None
    clock.advance(3600)
    with pytest.raises(UnavailableError, match="connection refused"):
        find(key_set, ES)


def test_nobody_waits_for_an_issuer_that_is_known_to_be_away():
    published, clock, key_set = make(ES)
    find(key_set, ES)
    published.document = None
    clock.advance(3600)
    find(key_set, ES)
    clock.advance(10)

    async def ask_while_it_hangs():
        published.slow.clear()
        return await asyncio.wait_for(key_set.find(ES.kid, algorithm="ES256"), 1)

    assert asyncio.run(ask_while_it_hangs()) is not None


def test_an_unknown_key_is_no_verdict_while_the_issuer_is_away():
    published, clock, key_set = make(ES)
    find(key_set, ES)
    published.document = None
    clock.advance(10)
    with pytest.raises(UnavailableError):
        find(key_set, RS, "RS256")


def test_the_first_question_may_fail_and_is_not_repeated_for_everybody():
    published, clock, key_set = make(ES)
    published.document = None
    for _ in range(5):
        with pytest.raises(UnavailableError):
            find(key_set, ES)
    assert published.questions == 1
    published.document = public(ES)
    clock.advance(10)
    assert find(key_set, ES) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"kid": None},
        {"kid": ""},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"use": "enc"},
        {"crv": "secp256k1"},
        {"crv": "P-521"},
        {"x": "AA"},
        {"x": 7},
        {"y": None},
        {"d": "AA"},
    ],
)
def test_a_key_that_cannot_be_used_is_left_out(change):
    bad = ES.as_dict(private=False) | {"kid": "bad"} | change
    found = read_key_set({"keys": [bad, "text", None, *public(RS)["keys"]]}, issuer=ISSUER)
    assert set(found) == {(RS.kid, "RSA")}


@pytest.mark.parametrize("modulus", [None, "", "!", 7, "AQAB"])
def test_an_rsa_key_without_a_long_modulus_is_left_out(modulus):
    bad = RS.as_dict(private=False) | {"kid": "bad", "n": modulus}
    found = read_key_set({"keys": [bad, *public(ES)["keys"]]}, issuer=ISSUER)
    assert set(found) == {(ES.kid, "EC")}


def test_a_private_half_that_is_published_is_not_used():
    found = read_key_set({"keys": [RS.as_dict(private=True), *public(ES)["keys"]]}, issuer=ISSUER)
    assert set(found) == {(ES.kid, "EC")}


def test_of_two_keys_with_one_name_and_type_neither_is_used():
    twin = KEYS["RS384"].as_dict(private=False) | {"kid": RS.kid, "alg": "RS256"}
    found = read_key_set({"keys": [*public(RS, ES)["keys"], twin]}, issuer=ISSUER)
    assert set(found) == {(ES.kid, "EC")}


def test_two_keys_of_one_name_may_be_of_two_types():
    named = [key.as_dict(private=False) | {"kid": "same"} for key in (RS, ES)]
    assert len(read_key_set({"keys": named}, issuer=ISSUER)) == 2


@pytest.mark.parametrize("document", [{}, {"keys": []}, {"keys": {}}, {"keys": [{"kty": "oct"}]}])
def test_a_set_without_a_usable_key_is_a_failure(document):
    with pytest.raises(UnavailableError, match="no key"):
        read_key_set(document, issuer=ISSUER)
