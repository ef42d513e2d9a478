import sys
from pathlib import Path

import pytest

from greenlight.adapters.hosts.factory import open_host
from greenlight.adapters.hosts.local import LocalTransport
from greenlight.adapters.hosts.ssh import SshTransport
from greenlight.adapters.hosts.ssm import SsmTransport
from greenlight.deploy.engines import EngineProfile
from greenlight.deploy.fleet import Host

SIMULATOR = EngineProfile(kind="simulator")


def host(**values) -> Host:
    slots = {"blue": {"port": 8100}, "green": {"port": 8101}}
    return Host.model_validate({"name": "gpu-1", "root": "/srv", "slots": slots} | values)


SSH = {"runner": "ssh", "ssh": {"user": "me", "key_file": "keys/id", "known_hosts": "/etc/known"}}
SSM = {
    "runner": "ssm", "region": "eu-central-1",
    "ssm": {"instance_id": "i-0123456789abcdef0", "bucket": "models"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("values", "kind"), [({}, LocalTransport), (SSH, SshTransport), (SSM, SsmTransport)]
)
def test_every_runner_has_its_link_and_none_is_opened_yet(values, kind, make_settings):
    with open_host(host(**values), SIMULATOR, settings=make_settings()) as opened:
        assert opened.name == "gpu-1"
        assert type(opened._transport) is kind


def test_relative_paths_start_at_greenlights_home(make_settings):
    settings = make_settings()
    opened = open_host(host(root="hosts/a"), SIMULATOR, settings=settings)
    assert str(opened._root) == str(settings.home / "hosts/a")
    access = open_host(host(**SSH), SIMULATOR, settings=settings)._transport._access
    assert access.key_file == settings.home / "keys/id"
    assert access.known_hosts == Path("/etc/known")


@pytest.mark.parametrize(
    ("values", "python"),
    [
        ({"kind": "simulator"}, sys.executable),
        ({"kind": "vllm-cpu"}, "/serve/python"),
        ({"kind": "vllm", "python": "/opt/python"}, "/opt/python"),
    ],
)
def test_the_interpreter_is_the_profiles_or_that_of_the_kind(values, python, make_settings):
    settings = make_settings(serve_python="/serve/python")
    opened = open_host(host(), EngineProfile.model_validate(values), settings=settings)
    assert opened._python == python
