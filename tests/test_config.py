"""Settings: precedence, refusals, and messages that name the setting, the value and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal_memory.config import ENV_PREFIX, LLAMA_LINEAR, SETTINGS_FILE, Settings
from seal_memory.errors import SettingsError
from seal_memory.records import Role


def _write(folder: Path, text: str) -> Path:
    (folder / SETTINGS_FILE).write_text(text, encoding="utf-8")
    return folder


def test_defaults_are_valid_and_described() -> None:
    """Every setting has a default within its bounds and a description for people."""
    settings = Settings.load()
    assert settings.target_modules == LLAMA_LINEAR
    assert settings.learn_roles == (Role.USER, Role.DOCUMENT, Role.TOOL)
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_file_beats_default(tmp_path: Path) -> None:
    """The memory folder's settings.toml overrides defaults and leaves the others."""
    settings = Settings.load(_write(tmp_path, 'rank = 8\nlearn_roles = ["user"]'))
    assert (settings.rank, settings.learn_roles, settings.epochs) == (8, (Role.USER,), Settings().epochs)


def test_environment_beats_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable wins over the file, even over a bad value there."""
    monkeypatch.setenv("SEAL_MEMORY_RANK", "16")
    assert Settings.load(_write(tmp_path, "rank = -3")).rank == 16


def test_explicit_beats_environment_and_none_means_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keywords win; None lets the next source speak, as a command line without that option does."""
    monkeypatch.setenv("SEAL_MEMORY_RANK", "16")
    folder = _write(tmp_path, "rank = 8\nseed = 5")
    settings = Settings.load(folder, rank=4, seed=None)
    assert (settings.rank, settings.seed) == (4, 5)


def test_a_folder_without_a_file_gives_defaults(tmp_path: Path) -> None:
    """The file is optional, and so is the folder."""
    assert Settings.load(tmp_path) == Settings.load(tmp_path / "missing") == Settings.load(None)


def test_lists_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are read with commas or as JSON; an empty variable counts as not set."""
    monkeypatch.setenv("SEAL_MEMORY_TARGET_MODULES", "q_proj, v_proj")
    monkeypatch.setenv("SEAL_MEMORY_LEARN_ROLES", '["user", "tool"]')
    monkeypatch.setenv("SEAL_MEMORY_RANK", "")
    settings = Settings.load()
    assert settings.target_modules == ("q_proj", "v_proj")
    assert settings.learn_roles == (Role.USER, Role.TOOL)
    assert settings.rank == Settings.model_fields["rank"].default


def test_cache_dir_expands_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`~` works in a variable as in a shell."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SEAL_MEMORY_CACHE_DIR", "~/models")
    assert Settings.load().cache_dir == tmp_path / "models"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("rank", 0, "greater than or equal to 1"),
        ("held_out_share", 1.0, "less than 1"),
        ("alpha", float("nan"), "finite"),
        ("epochs", "many", "valid integer"),
        ("candidates", 1.5, "valid integer"),
        ("target_modules", (), "at least 1"),
        ("target_modules", ("q_proj", "q_proj"), "at most once"),
        ("target_modules", "[broken", "tuple"),
        ("learn_roles", ("robot",), "'user'"),
        ("model_genres", "perhaps", "boolean"),
    ],
)
def test_bad_values_name_setting_value_and_expectation(name: str, value: object, expected: str) -> None:
    """The message says which setting, which value, and what was expected."""
    with pytest.raises(SettingsError, match=f"setting {name} ") as caught:
        Settings.load(None, **{name: value})
    shown = value[0] if name == "learn_roles" else value  # type: ignore[index]
    assert repr(shown) in str(caught.value)
    assert expected in str(caught.value)


def test_several_bad_values_are_told_at_once() -> None:
    """One round trip mends them all."""
    with pytest.raises(SettingsError, match=r"setting rank .*; setting epochs "):
        Settings.load(None, rank=0, epochs=0)


def test_bad_values_say_where_they_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file's path or the variable's name stands in front; a keyword that won has no file in front."""
    folder = _write(tmp_path, "rank = 0")
    with pytest.raises(SettingsError, match=r"settings\.toml: setting rank "):
        Settings.load(folder)
    with pytest.raises(SettingsError, match=r"^setting rank .* is -1"):
        Settings.load(folder, rank=-1)
    monkeypatch.setenv("SEAL_MEMORY_EPOCHS", "x")
    with pytest.raises(SettingsError, match=r"^environment variable SEAL_MEMORY_EPOCHS: setting epochs "):
        Settings()


def test_unknown_names_are_refused_with_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error never goes by unseen, wherever it was made."""
    with pytest.raises(SettingsError, match=r"unknown setting 'rnk'; did you mean rank\?"):
        Settings.load(None, rnk=1)
    with pytest.raises(SettingsError, match=r"settings\.toml: unknown setting 'epoch'.* epochs\?"):
        Settings.load(_write(tmp_path, "epoch = 1"))
    with pytest.raises(SettingsError, match="known settings: candidates, rank"):
        Settings.load(None, zzzzzz=1)
    monkeypatch.setenv("SEAL_MEMORY_ALPAH", "1")
    with pytest.raises(SettingsError, match=r"SEAL_MEMORY_ALPAH; did you mean SEAL_MEMORY_ALPHA\?"):
        Settings.load()


def test_other_rooms_variables_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line's own variables and test hooks are left alone."""
    monkeypatch.setenv("SEAL_MEMORY_FOLDER", "/anywhere")
    monkeypatch.setenv("SEAL_MEMORY_TEST_KILL_AT", "publish")
    assert Settings.load() == Settings()


@pytest.mark.parametrize("content", [b"rank 8", b"rank = 8\nrank = 9", b"\xff\xfe\x00"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    """Broken TOML and binary junk are one clear error with the file's path."""
    (tmp_path / SETTINGS_FILE).write_bytes(content)
    with pytest.raises(SettingsError, match=r"settings\.toml"):
        Settings.load(tmp_path)


def test_settings_are_frozen() -> None:
    """Nothing changes a setting after it was validated."""
    with pytest.raises(ValueError, match="frozen"):
        Settings().rank = 3  # type: ignore[misc]


@given(rank=st.integers(1, 512), share=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_settings_survive_a_round_trip(rank: int, share: float, seed: int) -> None:
    """What was dumped as JSON loads as the same settings."""
    settings = Settings(rank=rank, router_threshold=share, seed=seed)
    assert Settings.load(None, **settings.model_dump(mode="json")) == settings


def test_every_setting_has_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each numeric setting can be set by SEAL_MEMORY_<NAME>."""
    for name, field in Settings.model_fields.items():
        if field.annotation in (int, float):
            monkeypatch.setenv(ENV_PREFIX + name.upper(), str(field.default))
    assert Settings.load() == Settings.model_construct(**Settings().model_dump())
