import logging
import threading

from greenlight.entrypoints.fleet_loop import keep_looking


def test_what_is_new_is_said_once_with_its_level_and_every_look_is_told(caplog):
    answers = [
        ("held", logging.INFO),
        ("held", logging.INFO),
        ("", logging.INFO),
        ("held", logging.INFO),
        ("AWS refuses", logging.ERROR),
    ]
    stop, looks = threading.Event(), []

    def look():
        looks.append(answers[len(looks)])
        if len(looks) == len(answers):
            stop.set()
        return looks[-1]

    told = []
    with caplog.at_level(logging.INFO):
        keep_looking(
            look, fleet="f", every_s=0.001, stop=stop, looked=lambda: told.append(len(looks))
        )
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("INFO", "fleet f: held"),
        ("ERROR", "fleet f: AWS refuses"),
    ]
    assert told == [1, 2, 3, 4, 5]
