"""The first lines of a description: each replaced alone, and nothing else touched."""

from greenlight.registry.links import link, plain, with_links

TEXT = "**m**, quantized.\n\n| gate |\n|---|\n\nThe end.\n"


def test_lines_come_first_in_one_order_and_the_text_stays():
    once = with_links(TEXT, {"Rollout demo": "r1", "Evidence": "e"})
    assert once == f"- **Evidence**: e\n- **Rollout demo**: r1\n\n{TEXT}"
    twice = with_links(once, {"Approval": "by ana"})
    assert twice.startswith("- **Evidence**: e\n- **Approval**: by ana\n- **Rollout demo**: r1\n\n")
    assert twice.endswith(f"\n\n{TEXT}")


def test_a_line_is_replaced_and_saying_it_again_changes_nothing():
    first = with_links(TEXT, {"Approval": "approved"})
    second = with_links(first, {"Approval": "rejected"})
    assert second == f"- **Approval**: rejected\n\n{TEXT}"
    assert with_links(second, {"Approval": "rejected"}) == second


def test_fleets_have_lines_of_their_own():
    text = with_links(with_links(TEXT, {"Rollout a": "1"}), {"Rollout b": "2"})
    assert text.startswith("- **Rollout a**: 1\n- **Rollout b**: 2\n\n")


def test_a_list_of_somebody_elses_is_not_ours():
    theirs = "- **Note**: keep\n- **Evidence**: theirs, further down\n"
    assert with_links(theirs, {"Evidence": "ours"}) == f"- **Evidence**: ours\n\n{theirs}"


def test_an_empty_description_gets_the_lines_alone():
    assert with_links("", {"Evidence": "e"}) == "- **Evidence**: e\n\n"
    assert with_links(TEXT, {}) == TEXT


def test_what_a_person_wrote_is_one_harmless_line():
    assert plain("a\n- **Evidence**: [x](javascript:1)") == (
        r"a - \*\*Evidence\*\*: \[x\]\(javascript:1\)"
    )
    assert plain("x" * 500) == "x" * 199 + "…"


def test_a_link_without_an_address_is_its_text():
    assert link("r", None) == "r"
    assert link("r", "http://a") == "[r](http://a)"
