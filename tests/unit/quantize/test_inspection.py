import pytest

from greenlight.quantize.inspection import ascii_share, inspect, is_card


@pytest.mark.parametrize(
    ("text", "damaged"),
    [("fine\tand\r\n“fine”", 0), ("caf\ufffd", 1), ("a\x00b\x85", 2), ("\ud800", 1)],
)
def test_damage_is_counted_and_white_space_is_none(text, damaged):
    assert inspect(text).damaged == damaged


@pytest.mark.parametrize(
    ("text", "e_mails", "phones", "cards", "keys"),
    [
        ("Write to ada.l+x@example.co.uk.", 1, 0, 0, 0),
        ("the decorator @property, user@host", 0, 0, 0, 0),
        ("Call +44 20 7946 0958 or (030) 9018-20", 0, 2, 0, 0),
        ("released 2024-01-02 03:04:05, version 1.2.3, 100000000", 0, 0, 0, 0),
        ("Card 4111 1111 1111 1111.", 0, 0, 1, 0),
        ("Card 4111 1111 1111 1112.", 0, 0, 0, 0),
        ("AKIAABCDEFGHIJKLMNOP", 0, 0, 0, 1),
        ("-----BEGIN RSA PRIVATE KEY-----", 0, 0, 0, 1),
        ("ghp_" + "a1" * 18, 0, 0, 0, 1),
        ("the task-sk-ipping rule, tokenizer_config", 0, 0, 0, 0),
    ],
)
def test_personal_data_and_keys_are_counted(text, e_mails, phones, cards, keys):
    found = inspect(text)
    assert (found.e_mails, found.phones, found.cards, found.keys) == (e_mails, phones, cards, keys)


@pytest.mark.parametrize(
    ("digits", "card"),
    [("4111111111111111", True), ("4111111111111112", False), ("0" * 16, False), ("18", False)],
)
def test_a_card_has_its_check_digit(digits, card):
    assert is_card(digits) is card


def test_the_share_of_ascii_letters_tells_english_from_chinese():
    assert ascii_share("word, 1 2 3") == 1
    assert ascii_share("文字") == 0
    assert ascii_share("ab文字") == 0.5
    assert ascii_share("123") == 1


def test_case_and_white_space_make_no_other_text():
    assert inspect("A  b\n").fingerprint == inspect("a b").fingerprint
    assert inspect("a c").fingerprint != inspect("a b").fingerprint
