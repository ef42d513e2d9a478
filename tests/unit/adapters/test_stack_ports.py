import socket

import pytest

from greenlight.adapters.stack.ports import (
    LOOPBACK,
    ask_kernel,
    choose_ports,
    is_free,
    read_ports,
    write_ports,
)
from greenlight.core.errors import ConfigError
from greenlight.core.settings import Ports

KEPT = Ports(**{name: 1001 + number for number, name in enumerate(Ports.model_fields)})
ALL = set(Ports.model_fields)


def choose(configured=None, *, kept=KEPT, ours=(), taken=(), others=()):
    numbers = iter(range(2001, 2100))
    return choose_ports(
        configured or Ports(),
        kept=kept,
        ours=ours,
        others=others,
        free=lambda port: port not in taken,
        pick=lambda: next(numbers),
    )


def test_at_first_every_port_is_a_free_one_and_they_differ():
    assert choose(kept=None) == Ports(
        **{name: 2001 + number for number, name in enumerate(Ports.model_fields)}
    )


def test_chosen_ports_are_kept():
    assert choose() == KEPT


def test_a_port_that_somebody_took_while_the_stack_was_down_is_chosen_again():
    assert choose(taken={1002}) == KEPT.model_copy(update={"mlflow": 2001})


def test_a_port_that_a_running_service_holds_is_not_taken_by_somebody():
    assert choose(ours=ALL, taken=set(KEPT.model_dump().values())) == KEPT


def test_a_configured_port_wins_over_the_kept_one():
    assert choose(Ports(airflow=8080)).airflow == 8080


def test_a_configured_port_in_use_is_refused_with_its_name():
    with pytest.raises(ConfigError, match=r"ports\.airflow: port 8080 is in use"):
        choose(Ports(airflow=8080), taken={8080})


def test_a_configured_port_that_we_hold_ourselves_is_fine():
    kept = KEPT.model_copy(update={"airflow": 8080})
    assert choose(Ports(airflow=8080), kept=kept, ours=ALL, taken={8080}).airflow == 8080


def test_one_port_for_two_services_is_refused():
    with pytest.raises(ConfigError, match="given to two services"):
        choose(Ports(airflow=8080, mlflow=8080))


def test_a_port_chosen_for_somebody_who_does_not_listen_yet_is_left_to_him():
    found = choose(others={1002, 2001})
    assert found == KEPT.model_copy(update={"mlflow": 2002})


def test_ports_kept_before_there_were_stores_stay():
    older = Ports(airflow=1001, mlflow=1002, postgres=1003)
    found = choose(kept=older)
    assert (found.airflow, found.mlflow, found.postgres) == (1001, 1002, 1003)
    assert min(found.store_a, found.store_b, found.redis) >= 2001


def test_a_port_with_a_listener_is_not_free():
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        assert not is_free(other.getsockname()[1])
    assert is_free(ask_kernel())


def test_ports_survive_the_disk_and_a_broken_file_counts_as_none(tmp_path):
    path = tmp_path / "ports.json"
    assert read_ports(path, Ports) is None
    write_ports(path, KEPT)
    assert read_ports(path, Ports) == KEPT
    path.write_text("{half")
    assert read_ports(path, Ports) is None
