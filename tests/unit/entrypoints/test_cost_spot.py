"""A mixed fleet is planned from what came first, and tried on what came after."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from greenlight.cli.main import build
from greenlight.core.errors import InputError
from greenlight.cost.spot.fleet import SpotSettings
from greenlight.entrypoints.cost_spot import plan_and_try

MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
STEP = timedelta(minutes=30)


def written(folder: Path, *, days: int = 20, taken_late: bool = False) -> Path:
    """Write two pools at a third of the price; the second half may take the first one away."""
    lines = ["timestamp,pool,price,taken"]
    for number in range(days * 48):
        at = (MONDAY + number * STEP).isoformat()
        gone = int(taken_late and number >= days * 24 and number % 48 < 2)
        lines += [f"{at},a,0.40,{gone}", f"{at},b,0.45,0"]
    path = folder / "a trace.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def tried(path: Path) -> object:
    return plan_and_try(
        path, hosts=10, on_demand=Decimal("1.2"), step=STEP, settings=SpotSettings()
    )


def test_quiet_pools_save_what_was_planned(tmp_path: Path) -> None:
    found = plan_and_try(
        written(tmp_path), hosts=10, on_demand=Decimal("1.2"), step=STEP, settings=SpotSettings()
    )
    assert found.plan.on_demand >= 3
    assert found.replayed.interruptions == 0
    planned = float(found.plan.monthly_saving) / (730 * 12)
    assert found.replayed.saving == pytest.approx(planned, abs=0.01)


def test_what_comes_after_the_plan_is_not_known_to_it(tmp_path: Path) -> None:
    quiet = plan_and_try(
        written(tmp_path), hosts=10, on_demand=Decimal("1.2"), step=STEP, settings=SpotSettings()
    )
    worse = plan_and_try(
        written(tmp_path, taken_late=True),
        hosts=10, on_demand=Decimal("1.2"), step=STEP, settings=SpotSettings(),
    )  # fmt: skip
    assert worse.plan == quiet.plan
    assert worse.replayed.interruptions > 0
    assert worse.replayed.saving is not None
    assert quiet.replayed.saving is not None
    assert worse.replayed.saving < quiet.replayed.saving


def test_a_trace_that_is_too_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "short.csv"
    path.write_text(f"timestamp,pool,price,taken\n{MONDAY.isoformat()},a,0.4,0\n")
    with pytest.raises(InputError, match="less than two steps"):
        tried(path)


def test_the_command_says_what_is_bought_and_how_it_went(tmp_path: Path) -> None:
    words = ["cost", "spot", str(written(tmp_path)), "--hosts", "10", "--on-demand", "1.2"]
    done = CliRunner().invoke(build(), [*words, "--step-minutes", "30"])
    assert done.exit_code == 0, done.output
    assert "on demand, 3 in a" in done.output
    assert "tried on 240 h: saving" in done.output
