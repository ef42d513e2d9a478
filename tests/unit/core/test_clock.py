from datetime import timedelta

from greenlight.core.clock import SystemClock


def test_the_wall_clock_is_aware_and_in_utc():
    assert SystemClock().now().utcoffset() == timedelta(0)


def test_monotonic_seconds_never_go_back():
    clock = SystemClock()
    assert clock.monotonic() <= clock.monotonic()
