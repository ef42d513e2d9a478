from greenlight.entrypoints import stack


def test_a_relative_configuration_file_is_still_found_by_services_in_another_folder(
    make_settings, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GREENLIGHT_CONFIG", "mine.yaml")
    made = stack._stack(make_settings())
    assert made.inherited["GREENLIGHT_CONFIG"] == str(tmp_path / "mine.yaml")


def test_the_last_lines_of_a_short_log_are_all_its_lines(tmp_path):
    (tmp_path / "x.log").write_text("one\ntwo\n")
    assert list(stack.last_lines(tmp_path / "x.log", lines=5)) == ["one\n", "two\n"]
