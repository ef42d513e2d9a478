import pytest

from greenlight.gateway.key_format import (
    BASE62,
    KeyText,
    new_key_text,
    pepper_mark,
    read_key_text,
)


def filled(byte):
    return lambda length: bytes([byte]) * length


@pytest.mark.parametrize("byte", [0, 1, 127, 255])
def test_a_key_has_one_form_whatever_was_drawn(byte):
    made = new_key_text(filled(byte))
    assert len(made.text) == 4 + 16 + 1 + 43 + 6
    assert made.text.startswith(f"glk_{made.id}_")
    assert read_key_text(made.text) == made


def test_every_random_bit_is_in_the_secret():
    drawn = {new_key_text(lambda n, b=bit: (1 << b).to_bytes(n, "big"), key_id="k").text
             for bit in range(256)}  # fmt: skip
    assert len(drawn) == 256


def test_every_single_typo_is_seen():
    text = new_key_text(filled(77)).text
    for place, right in enumerate(text):
        wrong = BASE62[(BASE62.find(right) + 1) % 62]
        assert read_key_text(text[:place] + wrong + text[place + 1 :]) is None


def test_two_letters_the_wrong_way_round_are_seen():
    text = new_key_text(filled(77)).text
    for place in range(4, len(text) - 1):
        swapped = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
        assert swapped == text or read_key_text(swapped) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda t: "", lambda t: t[:-1], lambda t: t + "0", lambda t: f" {t}", lambda t: f"{t}\n",
        lambda t: t.upper(), lambda t: t.replace("glk_", "sk-"), lambda t: t.replace("_", "-"),
        lambda t: t[:-1] + "٣", lambda t: t[:-1] + "é", lambda t: t[:-1] + "\ud800",
        lambda t: "glk_" + "0" * 1_000_000,
    ],
)  # fmt: skip
def test_another_form_is_no_key(change):
    assert read_key_text(change(new_key_text(filled(77)).text)) is None


def test_a_key_does_not_show_its_secret():
    made = new_key_text(filled(77))
    assert made.text not in repr(made)
    assert made.id in repr(made)


def test_the_hash_depends_on_key_and_pepper():
    one, other = new_key_text(filled(1)), new_key_text(filled(2))
    hashes = {key.hashed(pepper) for key in (one, other) for pepper in ("p", "q")}
    assert len(hashes) == 4
    assert one.matches(one.hashed("p"), "p")
    assert not one.matches(one.hashed("p"), "q")
    assert not one.matches(other.hashed("p"), "p")


def test_another_secret_of_a_key_has_its_id():
    first = new_key_text(filled(1))
    assert new_key_text(filled(2), key_id=first.id).id == first.id


def test_peppers_are_told_apart_without_showing_them():
    assert pepper_mark("a pepper") != pepper_mark("another")
    assert "pepper" not in pepper_mark("a pepper")


def test_the_form_is_documented_by_an_example():
    example = "glk_1p8j4s2k7m9w3x5q_" + "A" * 43
    assert read_key_text(f"{example}{'0' * 6}") is None
    assert isinstance(read_key_text(new_key_text(filled(3)).text), KeyText)
