"""What every `Router` must do: subclass it and give it a fixture `world`.

Every test gets a new world of two hosts, `gpu-1` and `gpu-2`, whose engines all answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest

from greenlight.core.errors import ConfigError, RefusedError
from greenlight.deploy.colours import Colour
from greenlight.deploy.ports import Router, RouterState, ServerMode
from greenlight.testing.waiting import wait_for

BLUE, GREEN = Colour.BLUE, Colour.GREEN
HOSTS = ("gpu-1", "gpu-2")
PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterWorld:
    """A new router. `kill` ends the engine of a slot; the router notices soon."""

    router: Router
    kill: Callable[[str, Colour], None]

    def set_ready(self, *colours: Colour, hosts: Iterable[str] = HOSTS, fence: int = 1) -> None:
        """Let servers take requests."""
        ready = {(host, colour): ServerMode.READY for host in hosts for colour in colours}
        self.router.set_modes(ready, fence=fence)

    def wait_until(self, holds: Callable[[RouterState], bool]) -> None:
        """Return when the router's state is as wanted; fail after some seconds."""
        wait_for(
            lambda: holds(self.router.state()),
            seconds=PATIENCE_S,
            every_s=0.01,
            why=self.router.state,
        )


class RouterContract:
    """The suite."""

    def test_a_new_router_serves_nobody(self, world: RouterWorld) -> None:
        """Two servers a host, in maintenance, without weight."""
        state = world.router.state()
        assert state.fence == 0
        assert {(s.host, s.colour) for s in state.servers} == {
            (h, c) for h in HOSTS for c in Colour
        }
        assert {(s.weight, s.mode, s.up) for s in state.servers} == {(0, ServerMode.MAINT, False)}
        assert state.share(BLUE) == state.share(GREEN) == 0

    def test_a_server_that_answers_is_up_once_it_is_ready(self, world: RouterWorld) -> None:
        """The caller need not wait."""
        world.set_ready(BLUE)
        state = world.router.state()
        assert all(s.up and s.mode is ServerMode.READY for s in state.of(BLUE))
        assert not any(s.up for s in state.of(GREEN))

    def test_a_server_that_does_not_answer_stays_down(self, world: RouterWorld) -> None:
        """Ready is what the router was told; up is what it found."""
        world.kill("gpu-1", BLUE)
        world.set_ready(BLUE)
        assert [s.up for s in world.router.state().of(BLUE)] == [False, True]

    @pytest.mark.parametrize("percent", [0, 1, 10, 50, 99, 100])
    def test_a_share_is_exact(self, world: RouterWorld, percent: int) -> None:
        """In the weights that are read back."""
        world.set_ready(BLUE, GREEN)
        world.router.shift({GREEN: percent, BLUE: 100 - percent}, fence=1)
        assert world.router.state().share(GREEN) == percent / 100

    def test_a_shift_may_be_repeated(self, world: RouterWorld) -> None:
        """A retry changes nothing."""
        world.set_ready(BLUE, GREEN)
        for _ in range(2):
            world.router.shift({GREEN: 10, BLUE: 90}, fence=1)
            assert world.router.state().share(GREEN) == 0.1

    def test_a_share_can_be_given_host_by_host(self, world: RouterWorld) -> None:
        """As the rolling strategy does; the other hosts stay as they are."""
        world.set_ready(BLUE, GREEN)
        world.router.shift({BLUE: 100}, fence=1)
        world.router.shift({GREEN: 100}, fence=1, hosts=["gpu-2"])
        state = world.router.state()
        assert [s.weight for s in state.of(BLUE)] == [100, 0]
        assert [s.weight for s in state.of(GREEN)] == [0, 100]
        assert state.share(GREEN) == 0.5

    @pytest.mark.parametrize("shares", [{GREEN: 10}, {GREEN: 110, BLUE: -10}, {}])
    def test_shares_that_are_not_parts_of_100_are_refused(
        self, world: RouterWorld, shares: dict[Colour, int]
    ) -> None:
        """Nothing changes."""
        world.set_ready(BLUE, GREEN)
        with pytest.raises(RefusedError, match="parts of 100"):
            world.router.shift(shares, fence=1)
        assert {s.weight for s in world.router.state().servers} == {0}

    def test_a_colour_that_nobody_answers_for_gets_no_share(self, world: RouterWorld) -> None:
        """Nobody would serve. The colour that serves keeps everything."""
        world.set_ready(BLUE, GREEN)
        world.router.shift({BLUE: 100}, fence=1)
        for host in HOSTS:
            world.kill(host, GREEN)
        world.wait_until(lambda state: not any(s.up for s in state.of(GREEN)))
        with pytest.raises(RefusedError, match=r"green cannot get 10 %.*nobody would serve"):
            world.router.shift({GREEN: 10, BLUE: 90}, fence=1)
        assert world.router.state().share(BLUE) == 1

    def test_one_server_that_answers_is_enough(self, world: RouterWorld) -> None:
        """A dead host does not keep a rollback from happening."""
        world.set_ready(BLUE, GREEN)
        world.kill("gpu-1", GREEN)
        world.wait_until(lambda state: sum(s.up for s in state.of(GREEN)) == 1)
        world.router.shift({GREEN: 100}, fence=1)
        assert world.router.state().share(GREEN) == 1

    def test_a_drained_server_gets_no_share(self, world: RouterWorld) -> None:
        """It keeps its weight for the way back."""
        world.set_ready(BLUE, GREEN)
        world.router.shift({BLUE: 50, GREEN: 50}, fence=1)
        world.router.set_modes({(host, BLUE): ServerMode.DRAIN for host in HOSTS}, fence=1)
        state = world.router.state()
        assert {(s.mode, s.weight) for s in state.of(BLUE)} == {(ServerMode.DRAIN, 50)}
        assert state.share(GREEN) == 1
        world.set_ready(BLUE)
        assert world.router.state().share(BLUE) == 0.5

    def test_a_stale_fence_is_refused_and_changes_nothing(self, world: RouterWorld) -> None:
        """Whoever lost the lease cannot touch the router; both numbers are told."""
        world.set_ready(BLUE, GREEN, fence=7)
        world.router.shift({BLUE: 100}, fence=8)
        before = world.router.state()
        assert before.fence == 8
        with pytest.raises(RefusedError, match=r"7.*8"):
            world.router.shift({GREEN: 100}, fence=7)
        with pytest.raises(RefusedError, match=r"7.*8"):
            world.router.set_modes({("gpu-1", BLUE): ServerMode.MAINT}, fence=7)
        assert world.router.state() == before
        world.router.shift({GREEN: 100}, fence=8)

    def test_a_higher_fence_counts_even_if_its_change_is_refused(self, world: RouterWorld) -> None:
        """The old holder is shut out from the new one's first word."""
        with pytest.raises(RefusedError):
            world.router.shift({GREEN: 100}, fence=5)
        assert world.router.state().fence == 5

    def test_an_unknown_host_is_named(self, world: RouterWorld) -> None:
        """With those that there are."""
        with pytest.raises(ConfigError, match=r"gpu-9.*gpu-1, gpu-2"):
            world.router.set_modes({("gpu-9", BLUE): ServerMode.READY}, fence=1)
        with pytest.raises(ConfigError, match=r"gpu-9.*gpu-1, gpu-2"):
            world.router.shift({BLUE: 100}, fence=1, hosts=["gpu-1", "gpu-9"])
