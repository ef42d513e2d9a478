import os
import signal

import pytest

from greenlight.core.stopping import NUMBERS, until_told


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_is_heard_inside_the_block_and_the_old_handler_is_back_after_it(number):
    heard = []
    before = signal.signal(number, lambda *_: heard.append(number))
    try:
        with until_told() as told:
            assert not told.is_set()
            os.kill(os.getpid(), number)
            assert told.wait(5)
        assert heard == []
        os.kill(os.getpid(), number)
        assert heard == [number]
    finally:
        signal.signal(number, before)


def test_ctrl_c_is_heard_also_where_a_shell_had_it_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with until_told() as told:
            os.kill(os.getpid(), signal.SIGINT)
            assert told.wait(5)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
