from __future__ import annotations

from pathlib import Path

import pytest

from greenlight.core.errors import ConfigError
from greenlight.testing.simulation import FILE, Simulation, simulation_of


def test_a_folder_without_settings_means_the_defaults(tmp_path: Path) -> None:
    assert simulation_of(tmp_path) == Simulation()


def test_a_folders_settings_are_read(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"tokens": 3}')
    assert simulation_of(tmp_path).tokens == 3


@pytest.mark.parametrize("text", ["{", '{"tokenz": 3}', '{"tokens": 0}'])
def test_a_folders_settings_that_make_no_sense_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ConfigError, match=FILE):
        simulation_of(tmp_path)


def test_a_change_leaves_the_other_settings_and_reads_text() -> None:
    changed = Simulation(tokens=3).changed({"error_rate": "0.5", "wrong_text": "true"})
    assert (changed.tokens, changed.error_rate, changed.wrong_text) == (3, 0.5, True)


@pytest.mark.parametrize("change", [{"error_rate": 1.5}, {"no_such": 1}, {"slow_tokens": 0}])
def test_a_change_that_makes_no_sense_is_refused_with_its_name_and_value(
    change: dict[str, float],
) -> None:
    ((name, value),) = change.items()
    with pytest.raises(ConfigError, match=rf"{name}: .*got {value}"):
        Simulation().changed(change)


def test_without_faults_the_speed_and_the_text_stay() -> None:
    faulty = Simulation(
        tokens=3, first_token_s=2, error_rate=0.5, slow_tokens=9, crash_after_s=1, never_ready=True
    )
    assert faulty.without_faults() == Simulation(tokens=3, first_token_s=2, never_ready=True)
