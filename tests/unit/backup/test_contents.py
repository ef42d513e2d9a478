from pathlib import PurePosixPath

from greenlight.backup.contents import SECRETS, SOURCES


def test_no_source_reaches_the_secrets_or_leaves_the_home():
    for source in SOURCES:
        path = PurePosixPath(source.path)
        assert not path.is_absolute()
        assert ".." not in path.parts
        assert path.parts[0] != SECRETS


def test_no_source_is_saved_twice():
    paths = [PurePosixPath(source.path) for source in SOURCES]
    assert not [(a, b) for a in paths for b in paths if a != b and a.is_relative_to(b)]
    assert len({source.name for source in SOURCES}) == len(SOURCES)
