import re

import pytest
import yaml

from greenlight.backup.backup_file import BackupFile, Region, load_backup_file
from greenlight.core.errors import ConfigError
from greenlight.core.settings import PROJECT

EXAMPLE = PROJECT / "include/config/backup.example.yaml"
TWO = {"regions": [{"name": "a"}, {"name": "b"}]}
S3 = {"endpoint": "https://s3.example.org", "bucket": "greenlight-backup"}


def every_key():
    """Every key of the file, at any depth."""
    schema = BackupFile.model_json_schema()
    return {key for part in (schema, *schema["$defs"].values()) for key in part["properties"]}


def write(tmp_path, **values):
    path = tmp_path / "backup.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def commented_regions():
    """The commented examples of the example file, as YAML."""
    blocks = re.findall(r"^# regions:\n(?:#   .*\n)+", EXAMPLE.read_text(), flags=re.M)
    return [re.sub(r"^# ", "", block, flags=re.M) for block in blocks]


def test_the_example_shows_the_defaults_with_two_embedded_regions():
    assert load_backup_file(EXAMPLE) == BackupFile(regions=(Region(name="a"), Region(name="b")))


def test_the_example_names_every_key():
    keys = every_key()
    assert {"endpoint", "kms_key_id", "min_verified", "drill_age_h", "name"} <= keys
    text = EXAMPLE.read_text()
    assert [key for key in sorted(keys) if not re.search(rf"\b{key}\b", text)] == []


@pytest.mark.parametrize("number", [0, 1])
def test_the_commented_examples_would_load(number, tmp_path):
    path = tmp_path / "backup.yaml"
    path.write_text(commented_regions()[number])
    assert all(region.s3 is not None for region in load_backup_file(path).regions)


def test_there_are_two_commented_examples():
    assert len(commented_regions()) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"region": []}, "unknown key 'region'"),
        ({"retention": {"yearly": 1}}, "unknown key 'retention.yearly'"),
        ({"retention": {"min_verified": 0}}, "retention.min_verified: .*equal to 1, got 0"),
        ({"regions": []}, "regions: .*at least 1 item"),
        ({"regions": [{"name": "a"}, {"name": "a"}]}, "a is there more than once"),
        ({"regions": [{"name": "A"}]}, r"regions\.0\.name: .*got 'A'"),
        ({"regions": [{"name": "a", "s3": S3 | {"endpoint": "http://s"}}]}, "endpoint: "),
        ({"regions": [{"name": "a", "s3": S3 | {"access_key_file": "/k"}}]}, "belong together"),
        ({"targets": {"rto_s": 0}}, r"targets\.rto_s: .*greater than 0, got 0"),
    ],
)
def test_a_mistake_is_refused_with_its_key(tmp_path, change, said):
    with pytest.raises(ConfigError, match=said):
        load_backup_file(write(tmp_path, **(TWO | change)))


def test_a_region_is_found_by_name_and_an_unknown_one_names_those_there_are(tmp_path):
    file = load_backup_file(write(tmp_path, **TWO))
    assert file.region("b").name == "b"
    with pytest.raises(ConfigError, match="there is no region 'c'; there are a, b"):
        file.region("c")
