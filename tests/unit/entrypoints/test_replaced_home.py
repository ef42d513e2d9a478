import shutil
from pathlib import Path

import pytest

from greenlight.core.errors import RefusedError
from greenlight.entrypoints.replaced_home import beside, replace_home, require_replaceable


def write(root, *names, text):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def texts(root):
    return {
        path.relative_to(root).as_posix(): path.read_text()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_what_a_set_holds_is_exchanged_and_all_else_stays(make_settings):
    settings = make_settings()
    home, aside = settings.home, settings.home.with_name("aside")
    write(home, "postgres/data/x", "mlflow/artifacts/1/x", "datasets/new", text="live")
    write(home, "secrets/key", "stores/a/x", "hosts/one/x", "router/one/haproxy.cfg", text="live")
    write(beside(home), "postgres/data/x", "mlflow/artifacts/1/x", "config.yaml", text="restored")
    write(beside(home), "secrets/key", "router/one/haproxy.cfg", text="restored")
    replace_home(settings, set_aside=aside)
    assert texts(home) == {
        "postgres/data/x": "restored",
        "mlflow/artifacts/1/x": "restored",
        "config.yaml": "restored",
        "secrets/key": "live",
        "stores/a/x": "live",
        "hosts/one/x": "live",
        "router/one/haproxy.cfg": "live",
    }
    assert texts(aside) == {
        "postgres/data/x": "live",
        "mlflow/artifacts/1/x": "live",
        "datasets/new": "live",
    }
    assert not beside(home).exists()


def test_a_new_machine_whose_router_never_ran_gets_the_one_of_the_set(make_settings):
    settings = make_settings()
    write(settings.home, "secrets/key", text="brought")
    write(beside(settings.home), "router/one/haproxy.cfg", text="restored")
    replace_home(settings, set_aside=settings.home.with_name("aside"))
    assert texts(settings.home) == {"secrets/key": "brought", "router/one/haproxy.cfg": "restored"}


def test_what_an_earlier_restore_left_is_looked_at_before_it_is_removed(make_settings):
    home = make_settings().home
    beside(home).mkdir(parents=True)
    with pytest.raises(RefusedError, match="remove it first"):
        require_replaceable(home)
    shutil.rmtree(beside(home))
    require_replaceable(home)


def test_a_home_that_is_a_disk_of_its_own_is_not_replaced():
    with pytest.raises(RefusedError, match="/proc is a disk of its own"):
        require_replaceable(Path("/proc"))
