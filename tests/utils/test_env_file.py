"""Changes of a `.env`: what else stands in it stays, nobody else can read it, never half a file."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import SettingsError, parse_env_text
from utils.env_file import change_env_file, changed_text, env_file_value, keep_copy

TEMPLATE = "# The manual\nALPACA_API_KEY=\n#DB_HOST=127.0.0.1\nDB_USER=\n"


@pytest.fixture
def template(tmp_path):
    path = tmp_path / ".env.example"
    path.write_text(TEMPLATE)
    return path


def test_a_new_file_is_the_manual_filled_in_and_private(tmp_path, template):
    path = tmp_path / ".env"
    changes = {"ALPACA_API_KEY": "k", "DB_HOST": "db", "DB_PASSWORD": "it's"}
    change_env_file(path, changes, template)
    assert path.read_text() == (
        "# The manual\nALPACA_API_KEY=k\nDB_HOST=db\nDB_USER=\nDB_PASSWORD='it\\'s'\n"
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(one.name for one in tmp_path.iterdir()) == [".env", ".env.example"]


def test_what_is_not_named_stays_as_it_was_written(tmp_path, template):
    path = tmp_path / ".env"
    path.write_text("export MINE = 'a # b'  # why\n\n# remark\nDB_NAME=old\nLAST=1")
    path.chmod(0o644)
    change_env_file(path, {"DB_NAME": "new", "LAST": None}, template)
    assert path.read_text() == "export MINE = 'a # b'  # why\n\n# remark\nDB_NAME=new\n#LAST=\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_of_a_link_the_file_that_it_names_is_changed(tmp_path, template):
    (tmp_path / "elsewhere").write_text("DB_NAME=old\n")
    (tmp_path / ".env").symlink_to(tmp_path / "elsewhere")
    change_env_file(tmp_path / ".env", {"DB_NAME": "new"}, template)
    assert (tmp_path / ".env").is_symlink()
    assert (tmp_path / "elsewhere").read_text() == "DB_NAME=new\n"


@pytest.mark.parametrize("text", ["a secret line\n", "NOTE='first\nDB_NAME=second'\n"])
def test_a_file_that_would_not_come_out_right_is_left_alone_and_not_shown(tmp_path, template, text):
    path = tmp_path / ".env"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        change_env_file(path, {"DB_NAME": "new"}, template)
    assert path.read_text() == text
    assert "secret" not in str(caught.value)


def test_where_a_name_stands_twice_the_new_value_counts():
    text = changed_text("DB_NAME=a\nDB_NAME=b\n", {"DB_NAME": "c"})
    assert parse_env_text(text) == ({"DB_NAME": "c"}, [])


def test_copies_never_replace_one_another(tmp_path):
    path = tmp_path / ".env"
    assert keep_copy(path) is None
    for number in (1, 2):
        path.write_text(f"DB_NAME=n{number}\n")
        copy = keep_copy(path)
        assert (copy.name, copy.read_text()) == (f".env.before-{number}", f"DB_NAME=n{number}\n")
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600


@given(st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["C"])))
def test_every_value_is_read_as_it_was_written(value):
    assert parse_env_text(changed_text(TEMPLATE, {"DB_NAME": value}))[0]["DB_NAME"] == value
    assert env_file_value("plain") == "plain"
