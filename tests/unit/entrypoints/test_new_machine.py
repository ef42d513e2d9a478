import pytest

from greenlight.adapters.stack.secrets import BACKUP_SECRETS
from greenlight.core.errors import ConfigError
from greenlight.entrypoints.new_machine import open_tools_anywhere
from greenlight.testing.servers import postgres_binaries

REGION = """
regions:
  - name: cellar
    s3: {endpoint: "https://store.example.org", bucket: greenlight-backup}
"""


@pytest.fixture
def settings(make_settings):
    settings = make_settings()
    (settings.home / "config").mkdir(parents=True)
    (settings.home / "config/backup.yaml").write_text(REGION)
    settings.secrets.mkdir()
    for name in BACKUP_SECRETS:
        path = settings.secrets / name
        path.write_text(f"{name} as it was before\n")
        path.chmod(0o600)
    return settings


def test_everything_that_must_be_brought_is_named_and_no_secret_is_made_instead(make_settings):
    settings = make_settings()
    with pytest.raises(ConfigError) as error:
        open_tools_anywhere(settings)
    for name in ("config/backup.yaml", *(f"secrets/{name}" for name in BACKUP_SECRETS)):
        assert str(settings.home / name) in str(error.value)
    assert not settings.secrets.exists()


def test_what_was_brought_stays_and_the_rest_is_made(settings):
    if postgres_binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    tools = open_tools_anywhere(settings)
    assert list(tools.stores) == ["cellar"]
    for name in BACKUP_SECRETS:
        assert (settings.secrets / name).read_text() == f"{name} as it was before\n"
    made = (settings.secrets / "postgres").read_text()
    open_tools_anywhere(settings)
    assert (settings.secrets / "postgres").read_text() == made


def test_a_brought_secret_that_others_may_have_read_is_refused(settings):
    (settings.secrets / "backup_restic").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        open_tools_anywhere(settings)
