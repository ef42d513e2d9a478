"""The stack and the browser, once for all tests of the page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from browser_world import ARGUMENTS, CHROMIUM, PATIENCE_MS, World, report, told_stack, visit
from playwright.sync_api import Browser, Page, expect, sync_playwright

from greenlight.core.settings import Settings
from greenlight.testing.servers import postgres_binaries


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    if CHROMIUM is None or postgres_binaries() is None or shutil.which("haproxy") is None:
        pytest.skip("Chromium, PostgreSQL or HAProxy is not installed: scripts/setup dev")
    home = tmp_path_factory.mktemp("page") / "a home with spaces"
    with told_stack(Settings(home=home)) as told:
        yield told


@pytest.fixture(scope="session")
def reported(world: World) -> World:
    """Return the stack with a cost report."""
    report(world)
    return world


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        expect.set_options(timeout=PATIENCE_MS)
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser, world: World) -> Iterator[Page]:
    with visit(browser, world) as context:
        yield context.new_page()
