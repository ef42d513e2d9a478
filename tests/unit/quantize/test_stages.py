from greenlight.quantize.stages import SHARES, percent_done


def test_the_shares_sum_to_a_hundred():
    assert sum(SHARES.values()) == 100


def test_a_run_that_has_not_begun_is_at_zero():
    assert percent_done([(task, None) for task in SHARES]) == 0


def test_a_run_that_waits_for_a_person_is_at_a_hundred():
    assert (
        percent_done([*((task, "success") for task in SHARES), ("approve", "awaiting_input")])
        == 100
    )


def test_instances_of_a_mapped_task_share_its_part_and_skipped_ones_count():
    states = [("prove_recipe", "success"), ("prove_recipe", "skipped"), ("prove_recipe", "running")]
    assert percent_done(states) == int(SHARES["prove_recipe"] * 2 / 3)
