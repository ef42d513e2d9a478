"""The embedded regions of a home, without starting one. Real ones: tests/integration/stack."""

import re
import subprocess
from datetime import UTC, datetime

import pytest

from greenlight.adapters.stack import object_store
from greenlight.adapters.stack.object_store import PROGRAM, InnerPorts
from greenlight.adapters.stack.ports import write_ports
from greenlight.adapters.stack.secrets import load_or_create_secrets
from greenlight.adapters.stack.services import ServiceName
from greenlight.adapters.stack.stores import (
    STORES,
    claim_stores,
    embedded_stores,
    s3_of,
)
from greenlight.backup.backup_file import Region
from greenlight.core.errors import ConfigError, RefusedError
from greenlight.core.settings import Ports

NOW = datetime(2026, 11, 25, tzinfo=UTC)
PORTS = Ports(airflow=1001, mlflow=1002, postgres=1003, store_a=1004, store_b=1005)
OWN = "{name: paris, s3: {endpoint: 'https://s3.example.org', bucket: greenlight}}"


@pytest.fixture
def settings(make_settings):
    return make_settings()


def configure(settings, regions):
    path = settings.home / "config/backup.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"regions: [{regions}]\n")


def claim(settings, *, wanted=STORES, running=()):
    load_or_create_secrets(settings.secrets)
    return claim_stores(settings, wanted, PORTS, running=running, now=NOW)


def test_two_embedded_regions_are_the_default(settings):
    assert list(embedded_stores(settings)) == list(STORES)


def test_a_region_with_an_s3_of_its_own_needs_no_store(settings):
    configure(settings, f"{OWN}, {{name: b}}")
    assert list(embedded_stores(settings)) == [ServiceName.STORE_B]


def test_a_region_that_no_store_stands_for_is_refused_with_what_to_do(settings):
    configure(settings, "{name: paris}")
    with pytest.raises(ConfigError, match=r"'paris' has no s3.*give it an s3, or call it a or b"):
        embedded_stores(settings)


def test_the_bucket_of_a_region_is_the_configured_one_or_the_embedded_stores(settings):
    write_ports(settings.run / "ports.json", PORTS)
    store = s3_of(settings, Region(name="b"))
    assert store.endpoint == "https://127.0.0.1:1005"
    assert store.ca_file == settings.home / "stores/ca.pem"
    own = Region.model_validate({"name": "paris", "s3": {"endpoint": "https://x", "bucket": "abc"}})
    assert s3_of(settings, own) is own.s3


def test_the_bucket_of_a_store_that_never_ran_is_refused_with_what_to_run(settings):
    with pytest.raises(RefusedError, match="never up: run `make up`"):
        s3_of(settings, Region(name="a"))


def test_no_two_stores_share_a_port_and_all_are_kept(settings):
    found = claim(settings)
    ports = [port for store in found for port in (store.port, *store.inner.model_dump().values())]
    assert len(ports) == len(set(ports)) == 16
    assert not set(ports) & {PORTS.airflow, PORTS.mlflow, PORTS.postgres}
    assert claim(settings) == found
    assert claim(settings, running=STORES) == found


def test_only_the_stores_that_are_wanted_are_made(settings):
    (store,) = claim(settings, wanted=[ServiceName.STORE_B])
    assert store.region == "b"
    assert not (settings.home / "stores/a").exists()


def test_what_a_store_reads_is_for_its_owner_only(settings):
    for store in claim(settings):
        assert store.folder.stat().st_mode & 0o777 == 0o700
        files = [path for path in store.folder.iterdir() if path.is_file()]
        assert {path.name for path in files} == {"identities.json", "security.toml"}
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_a_store_is_started_again_when_its_keys_or_its_certificate_change(settings):
    store = claim(settings)[0]
    before = object_store.server(store).digest
    assert object_store.server(store).digest == before
    store.certificates.ca.unlink()
    (store,) = claim(settings, wanted=[store.service])
    renewed = object_store.server(store).digest
    store.secret_key_file.write_text("another secret of good length")
    assert len({before, renewed, object_store.server(store).digest}) == 3


def test_a_store_inherits_no_keys_of_a_shell_which_it_would_take_for_its_administrators(settings):
    assert object_store.server(claim(settings)[0]).inherited == {}


def test_a_missing_program_says_how_to_install_it(settings, tmp_path):
    with pytest.raises(ConfigError, match=r"not installed.*scripts/setup core"):
        object_store.server(claim(settings)[0], program=tmp_path / "weed")


def test_every_port_that_a_part_we_start_could_open_is_set(settings):
    """A new release with one more port would open the same one in both regions."""
    done = subprocess.run([PROGRAM, "server", "-h"], capture_output=True, text=True, check=False)
    parts = r"(?:master|volume|filer|s3)\.port(?:\.\w+)?"
    known = set(re.findall(rf"^  -({parts}) ", done.stdout + done.stderr, flags=re.MULTILINE))
    command = " ".join(object_store.server(claim(settings)[0]).command)
    unset = {name for name in known if f" -{name}=" not in command}
    assert len(known) > len(InnerPorts.model_fields)
    assert unset == {"volume.port.public", "filer.port.public", "s3.port.https"}
