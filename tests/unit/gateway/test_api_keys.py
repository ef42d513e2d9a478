from datetime import timedelta

import pytest

from greenlight.core.errors import ConfigError, InputError, RefusedError
from greenlight.gateway.api_keys import (
    check_key,
    check_pepper,
    opens_a_model,
    revoke,
    rotate,
)
from greenlight.gateway.key_format import new_key_text
from greenlight.gateway.principals import Principal
from greenlight.gateway.refusals import Refusal
from greenlight.testing.gateway_access import PEPPER, a_gateway, a_key, counted_bytes
from greenlight.testing.manual_clock import NOON

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def judge(key, text, *, now=NOON, gateway=None, pepper=PEPPER):
    found = check_key(text, key, pepper=pepper, gateway=gateway or a_gateway(), now=now)
    return found if isinstance(found, Refusal) else found[0]


def rotated(key, *, overlap=HOUR, now=NOON, lifetime=None):
    text = new_key_text(counted_bytes, key_id=key.id)
    return (
        rotate(key, text, overlap=overlap, lifetime=lifetime, pepper=PEPPER, now=now),
        text,
    )


def test_a_key_opens_until_it_expires():
    key, text = a_key(lifetime=DAY)
    assert isinstance(judge(key, text, now=NOON + DAY - timedelta(seconds=1)), Principal)
    assert "expired at 2026-11-25T12:00:00+00:00" in judge(key, text, now=NOON + DAY).message


def test_a_key_without_an_expiry_opens_for_ever():
    key, text = a_key()
    assert isinstance(judge(key, text, now=NOON + 9999 * DAY), Principal)


def test_a_revoked_key_opens_nothing_whatever_the_clock_says():
    key, text = a_key()
    ended = revoke(key, by="bob", now=NOON + HOUR)
    assert "was revoked" in judge(ended, text, now=NOON).message


def test_revoking_twice_is_once():
    key, _ = a_key()
    ended = revoke(key, by="bob", now=NOON)
    assert revoke(ended, by="eve", now=NOON + DAY) == ended


def test_a_wrong_secret_learns_nothing_of_the_key():
    key, _ = a_key(lifetime=DAY)
    wrong = new_key_text(counted_bytes, key_id=key.id)
    unknown = judge(None, wrong)
    for state in (key, revoke(key, by="bob", now=NOON)):
        assert judge(state, wrong, now=NOON + 2 * DAY) == unknown


def test_another_pepper_opens_nothing():
    key, text = a_key()
    assert isinstance(judge(key, text, pepper="another pepper for tests"), Refusal)


def test_a_key_carries_no_more_than_its_tenant_may_now():
    key, text = a_key(scopes=("chat", "models", "model:*"))
    smaller = a_gateway(tenants=[{"name": "acme", "scopes": ["chat", "model:small"]}])
    assert judge(key, text, gateway=smaller).scopes == {"chat", "model:small"}


def test_a_key_of_a_tenant_that_is_gone_opens_nothing():
    key, text = a_key()
    refusal = judge(key, text, gateway=a_gateway(tenants=[{"name": "other"}]))
    assert "tenant" in refusal.message


def test_both_secrets_work_while_they_overlap():
    key, old = a_key()
    after, new = rotated(key)
    for text in (old, new):
        assert isinstance(judge(after, text, now=NOON + HOUR - timedelta(seconds=1)), Principal)
    assert isinstance(judge(after, new, now=NOON + HOUR), Principal)
    assert "another secret since" in judge(after, old, now=NOON + HOUR).message


def test_a_use_tells_with_which_secret():
    key, old = a_key()
    after, new = rotated(key)
    uses = [
        check_key(text, after, pepper=PEPPER, gateway=a_gateway(), now=NOON)[1].previous
        for text in (old, new)
    ]
    assert uses == [True, False]


def test_without_overlap_the_old_secret_ends_at_once():
    key, old = a_key()
    after, new = rotated(key, overlap=timedelta(0))
    assert isinstance(judge(after, new), Principal)
    assert "not known" in judge(after, old).message


def test_a_rotation_leaves_all_else_as_it_is():
    key, _ = a_key(lifetime=DAY, name="batch")
    after, _ = rotated(key)
    for name in ("id", "tenant", "name", "scopes", "created_at", "created_by", "expires_at"):
        assert getattr(after, name) == getattr(key, name)


def test_a_rotation_may_give_a_new_lifetime():
    key, _ = a_key(lifetime=DAY)
    assert rotated(key, now=NOON + HOUR, lifetime=DAY)[0].expires_at == NOON + HOUR + DAY


def test_a_second_rotation_waits_for_the_overlap_or_ends_everything():
    key, old = a_key()
    once, middle = rotated(key)
    with pytest.raises(RefusedError, match="works until 2026-11-24T13:00:00"):
        rotated(once, now=NOON + HOUR / 2)
    twice, new = rotated(once, overlap=timedelta(0), now=NOON + HOUR / 2)
    opens = [isinstance(judge(twice, text, now=NOON + HOUR / 2), Principal)
             for text in (old, middle, new)]  # fmt: skip
    assert opens == [False, False, True]
    rotated(once, now=NOON + HOUR)


def test_what_ended_is_not_rotated():
    key, _ = a_key(lifetime=DAY)
    with pytest.raises(RefusedError, match="is revoked"):
        rotated(revoke(key, by="bob", now=NOON))
    with pytest.raises(RefusedError, match="--expires"):
        rotated(key, now=NOON + DAY)
    assert rotated(key, now=NOON + DAY, lifetime=DAY)[0].state(NOON + DAY) == "active"


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ({"tenant": "nobody"}, "there are acme, narrow"),
        ({"scopes": ()}, "at least one --scope"),
        ({"scopes": ("chats",)}, "'chats' is unknown"),
        ({"scopes": ("model:",)}, "'model:' is unknown"),
        ({"scopes": ("chat", "model:gone")}, "serves small, large"),
        ({"scopes": ("cache:bypass",)}, "more than tenant 'acme' may carry"),
        ({"tenant": "narrow", "scopes": ("models",)}, "may carry: chat, model:small"),
        ({"tenant": "narrow", "scopes": ("model:large",)}, "may carry"),
        ({"tenant": "narrow", "scopes": ("model:*",)}, "may carry"),
        ({"name": "n" * 101}, "at most 100"),
        ({"name": "two\nlines"}, "printable"),
    ],
)
def test_a_key_that_could_not_work_is_not_made(about, says):
    with pytest.raises(InputError, match=says):
        a_key(**about)


@pytest.mark.parametrize("time", [timedelta(0), timedelta(days=36501), timedelta(weeks=999_999)])
def test_a_time_that_no_calendar_has_is_refused(time):
    with pytest.raises(InputError, match="100 years"):
        a_key(lifetime=time)
    key, _ = a_key()
    for about in ({"lifetime": time}, {"overlap": time} if time else {"lifetime": time}):
        with pytest.raises(InputError, match="100 years"):
            rotated(key, **about)


def test_a_key_of_one_model_may_be_made():
    key, _ = a_key(tenant="narrow", scopes=("model:small", "chat", "chat"))
    assert key.scopes == ("chat", "model:small")
    assert opens_a_model(key)
    assert not opens_a_model(a_key(scopes=("chat",))[0])


def test_a_state_is_told_for_any_instant():
    key, _ = a_key(lifetime=2 * DAY)
    ended = revoke(key, by="bob", now=NOON + DAY)
    times = (NOON, NOON + DAY, NOON + 2 * DAY)
    assert [ended.state(at) for at in times] == ["active", "revoked", "revoked"]
    assert [key.state(at) for at in times] == ["active", "active", "expired"]


def test_what_is_shown_of_a_key_opens_nothing():
    key, text = a_key()
    after, _ = rotated(key)
    for shown in (str(after.to_json()), repr(after)):
        for secret in (text.text, after.hash, after.previous_hash):
            assert secret not in shown


def test_an_exchanged_pepper_is_told_with_the_keys_it_costs():
    keys = [a_key()[0], a_key()[0]]
    check_pepper(keys, pepper=PEPPER, now=NOON)
    with pytest.raises(ConfigError, match=rf"2 active API keys .*{keys[0].id}.*keys revoke"):
        check_pepper(keys, pepper="another pepper for tests", now=NOON)


def test_keys_that_ended_need_no_pepper():
    ended = revoke(a_key()[0], by="bob", now=NOON)
    check_pepper([ended], pepper="another pepper for tests", now=NOON)
