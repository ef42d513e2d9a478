from xml.etree import ElementTree

import pytest

from greenlight.adapters.pareto import ParetoPoint, draw_pareto, frontier
from greenlight.core.errors import InputError

PNG = b"\x89PNG\r\n\x1a\n"


def point(name, size, value, **kwargs):
    return ParetoPoint(name=name, size=size * 1_000_000, value=value, **kwargs)


PARENT = point("parent", 538, 1.0, role="parent")
SMALL = point("q4", 119, 1.14, low=1.11, high=1.17, verdict="fail")
GOOD = point("q4-qkv16", 142, 1.03, low=1.02, high=1.045, verdict="pass")
POOR = point("q4-down16", 156, 1.12, low=1.1, high=1.14, verdict="insufficient")
CONTROL = point("rounding", 100, 0.9, low=0.8, high=1.0, role="control")


def names(points):
    return [p.name for p in points]


def test_the_frontier_leaves_out_what_another_beats():
    assert names(frontier([POOR, PARENT, GOOD, SMALL])) == ["q4", "q4-qkv16", "parent"]


def test_a_control_is_never_on_the_frontier():
    assert names(frontier([CONTROL, GOOD])) == ["q4-qkv16"]


def test_of_two_equal_sizes_the_better_is_on_the_frontier():
    assert names(frontier([SMALL, point("better", 119, 1.1)])) == ["better"]


def test_everything_is_drawn_and_named(tmp_path):
    draw_pareto([PARENT, SMALL, GOOD, POOR, CONTROL], tmp_path / "plots/p.png", limit=1.05)
    assert (tmp_path / "plots/p.png").read_bytes().startswith(PNG)
    svg = (tmp_path / "plots/p.svg").read_text()
    ElementTree.fromstring(svg)
    for name in names([PARENT, SMALL, GOOD, POOR, CONTROL]):
        assert f'id="label-{name}"' in svg
    for look in ("passed", "failed", "not enough data", "control (rounding)", "limit 1.05"):
        assert f">{look}</text>" in svg


def test_the_same_plot_is_the_same_bytes(tmp_path):
    for name in ("a.png", "b.png"):
        draw_pareto([PARENT, SMALL], tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_one_point_without_an_interval_can_be_drawn(tmp_path):
    draw_pareto([point("only", 1, 0.0, verdict="fail")], tmp_path / "p.png")
    assert (tmp_path / "p.svg").is_file()


def test_a_value_outside_its_own_interval_can_be_drawn(tmp_path):
    draw_pareto([point("odd", 1, 2.0, low=2.5, high=1.5)], tmp_path / "p.png")


def test_nothing_cannot_be_drawn(tmp_path):
    with pytest.raises(InputError):
        draw_pareto([], tmp_path / "p.png")
    assert not (tmp_path / "p.png").exists()
