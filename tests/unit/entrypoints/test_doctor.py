"""The doctor on the embedded stack's own files."""

from datetime import timedelta

import pytest

from greenlight.adapters.stack.certificates import VALID, certificates_in, ensure_certificates
from greenlight.core.clock import SystemClock
from greenlight.core.findings import Answer
from greenlight.entrypoints.doctor import open_doctor


@pytest.fixture
def doctor(make_settings):
    """The doctor of a home whose nginx has a certificate for two days, its stores for years."""
    doctor = open_doctor(make_settings())
    now, home = SystemClock().now(), doctor.settings.home
    for name, made in (("edge", now - VALID + timedelta(days=2)), ("stores", now)):
        ensure_certificates(certificates_in(home / name), now=made)
    return doctor


def test_a_certificate_of_the_stack_that_ends_is_told(doctor):
    edge, stores = doctor.run(["certificates"])
    assert (edge.answer, stores.answer) == (Answer.FAILED, Answer.OK)
    assert edge.evidence.startswith("embedded edge: ends in 1 days")


def test_where_nginx_has_a_certificate_of_yours_the_one_before_is_no_concern(doctor):
    config = doctor.settings.home / "config"
    config.mkdir(parents=True)
    yours = certificates_in(doctor.settings.home / "stores").server
    example = (doctor.settings.config_folder / "gateway.example.yaml").read_text()
    (config / "gateway.yaml").write_text(
        f"{example}\nedge: {{port: 8443, certificate: {yours}, key: {yours}}}\n"
    )
    found = list(doctor.run(["certificates"]))
    assert [one.evidence.split(":")[0] for one in found] == ["edge", "embedded stores"]
    assert {one.answer for one in found} == {Answer.OK}
