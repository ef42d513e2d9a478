import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from greenlight.adapters.stack.certificates import (
    RENEWED,
    VALID,
    certificates_in,
    ensure_certificates,
)

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def found(tmp_path):
    made = certificates_in(tmp_path / "stores")
    ensure_certificates(made, now=NOW)
    return made


def contents(found):
    return found.ca.read_bytes(), found.server.read_bytes()


def verify(found, address, at=NOW):
    ca, server = (x509.load_pem_x509_certificate(text) for text in contents(found))
    is_address = address[0].isdigit()
    subject = x509.IPAddress(ipaddress.ip_address(address)) if is_address else x509.DNSName(address)
    policy = PolicyBuilder().store(Store([ca])).time(at)
    policy.build_server_verifier(subject).verify(server, [])


def test_the_authority_vouches_for_loopback_and_for_nothing_else(found):
    verify(found, "127.0.0.1")
    with pytest.raises(VerificationError):
        verify(found, "127.0.0.2")


def test_they_are_for_the_names_that_are_asked_for(tmp_path):
    made = certificates_in(tmp_path)
    assert ensure_certificates(made, now=NOW, hosts=("store-a", "127.0.0.1"))
    assert not ensure_certificates(made, now=NOW, hosts=("another",))
    for host in ("store-a", "127.0.0.1"):
        verify(made, host)
    with pytest.raises(VerificationError):
        verify(made, "store-b")


def test_they_hold_for_five_years_and_not_longer(found):
    verify(found, "127.0.0.1", at=NOW + VALID - timedelta(hours=1))
    with pytest.raises(VerificationError):
        verify(found, "127.0.0.1", at=NOW + VALID + timedelta(hours=1))


def test_the_key_is_for_its_owner_only_and_the_authoritys_key_is_kept_nowhere(found):
    assert found.server.stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE KEY" in found.server.read_bytes()
    assert b"PRIVATE KEY" not in found.ca.read_bytes()
    assert {path.name for path in found.ca.parent.iterdir()} == {"ca.pem", "server.pem"}


def test_good_ones_stay_until_shortly_before_their_end(found):
    before = contents(found)
    ensure_certificates(found, now=NOW + VALID - RENEWED - timedelta(days=1))
    assert contents(found) == before


def test_new_ones_are_made_before_the_old_ones_end(found):
    before, late = contents(found), NOW + VALID - RENEWED + timedelta(days=1)
    ensure_certificates(found, now=late)
    assert contents(found)[0] != before[0]
    verify(found, "127.0.0.1", at=late)


@pytest.mark.parametrize("name", ["ca", "server"])
@pytest.mark.parametrize("damage", ["gone", "broken", "of another pair"])
def test_what_does_not_fit_together_is_made_anew(found, tmp_path, name, damage):
    path = getattr(found, name)
    if damage == "gone":
        path.unlink()
    elif damage == "broken":
        path.write_bytes(path.read_bytes()[:-60])
    else:
        other = certificates_in(tmp_path / "other")
        ensure_certificates(other, now=NOW)
        path.write_bytes(getattr(other, name).read_bytes())
    ensure_certificates(found, now=NOW)
    verify(found, "127.0.0.1")


def test_a_key_that_is_not_the_certificates_is_noticed(found, tmp_path):
    other = certificates_in(tmp_path / "other")
    ensure_certificates(other, now=NOW)
    marker = b"-----BEGIN CERTIFICATE-----"
    key = other.server.read_bytes().partition(marker)[0]
    certificate = found.server.read_bytes().partition(marker)[2]
    found.server.write_bytes(key + marker + certificate)
    before = contents(found)
    ensure_certificates(found, now=NOW)
    assert contents(found) != before
