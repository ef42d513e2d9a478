import pytest

from greenlight.core.errors import UnavailableError
from greenlight.deploy.colours import Colour
from greenlight.testing.haproxy_worlds import a_fleet, haproxy_program, haproxy_router, health_pages
from greenlight.testing.memory_router import MemoryRouter
from greenlight.testing.router_contract import HOSTS, RouterContract, RouterWorld


class TestMemoryRouter(RouterContract):
    @pytest.fixture
    def world(self):
        router = MemoryRouter(HOSTS)
        return RouterWorld(router=router, kill=lambda *key: router.dead.add(key))

    def test_a_router_that_is_away_says_so(self, world):
        world.router.away = True
        with pytest.raises(UnavailableError):
            world.router.shift({Colour.BLUE: 100}, fence=1)


@pytest.mark.skipif(haproxy_program() is None, reason="HAProxy is not installed")
class TestHaproxyRouter(RouterContract):
    @pytest.fixture
    def world(self, tmp_path):
        with health_pages(HOSTS) as pages:
            fleet = a_fleet({key: page.port for key, page in pages.items()})
            with haproxy_router(fleet, tmp_path) as router:
                yield RouterWorld(router=router, kill=lambda *key: pages[key].kill())

    def test_a_router_that_is_away_says_so(self, world):
        world.router.stop(grace_s=0)
        with pytest.raises(UnavailableError, match="is it running"):
            world.router.shift({Colour.BLUE: 100}, fence=1)
