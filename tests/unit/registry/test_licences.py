import pytest

from greenlight.registry.licences import licence_of

APACHE = "                Apache License\n          Version 2.0, January 2004\n"
MIT = "Permission is hereby granted, free of charge, to any person … without\nrestriction, …"


def write(folder, **files):
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def test_the_readme_speaks_before_the_licence_file(tmp_path):
    write(tmp_path, README_md="---\nlicense: MIT\n---\n", LICENSE=APACHE)
    assert licence_of(tmp_path).spdx == "mit"


@pytest.mark.parametrize(
    "readme", ["no front matter", "---\nlicense: other\n---", "---\nx: [\n---", "---\n- a\n---", ""]
)
def test_a_licence_file_speaks_where_the_readme_is_silent(tmp_path, readme):
    write(tmp_path, README_md=readme, LICENSE=APACHE)
    found = licence_of(tmp_path)
    assert (found.spdx, found.source) == ("apache-2.0", "LICENSE reads like")


def test_a_licence_file_is_known_by_its_phrases(tmp_path):
    assert licence_of(write(tmp_path, LICENSE=MIT)).spdx == "mit"


def test_an_unknown_text_states_nothing(tmp_path):
    assert licence_of(write(tmp_path, LICENSE="All rights reserved.")) is None


def test_the_operator_speaks_where_the_folder_is_silent(tmp_path):
    found = licence_of(tmp_path, said=" MIT ")
    assert (found.spdx, found.source, found.conflict) == ("mit", "--licence", None)


def test_the_operator_speaks_where_the_folder_says_other(tmp_path):
    write(tmp_path, README_md="---\nlicense: other\n---")
    assert licence_of(tmp_path, said="mit").conflict is None


def test_a_contradiction_is_named(tmp_path):
    write(tmp_path, LICENSE=APACHE)
    assert licence_of(tmp_path, said="mit").conflict == "LICENSE reads like 'apache-2.0'"
    assert licence_of(tmp_path, said="Apache-2.0").conflict is None
