"""Settings: precedence, refusals, and messages that name the setting, the value and the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal_memory._internal.setting_messages import REMOVED, RENAMED
from seal_memory.config import ENV_PREFIX, LLAMA_LINEAR, SETTINGS_FILE, LearningSettings, Settings, setting_fields
from seal_memory.errors import SettingsError
from seal_memory.records import Role


def _write(folder: Path, text: str) -> Path:
    (folder / SETTINGS_FILE).write_text(text, encoding="utf-8")
    return folder


def test_there_are_at_most_50_settings_and_each_is_described() -> None:
    """Every setting has a default within its bounds and a description for people; every group says what it is."""
    assert len(setting_fields()) <= 50
    assert [name for name, field in setting_fields().items() if not field.description] == []
    assert [name for name in Settings.model_fields if name != "seed" and not getattr(Settings(), name).__doc__] == []
    assert list(Settings.load().flat()) == list(setting_fields())


def test_defaults_ask_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a file nor the environment speaks."""
    monkeypatch.setenv("SEAL_MEMORY_LEARNING__RANK", "3")
    assert Settings.defaults().learning == LearningSettings()
    assert Settings().learning.rank == 3
    assert Settings.defaults().learning.target_modules == LLAMA_LINEAR
    assert Settings.defaults().learning.roles == (Role.USER, Role.DOCUMENT, Role.TOOL)


def test_file_beats_default(tmp_path: Path) -> None:
    """The memory folder's settings.toml overrides defaults and leaves the others."""
    settings = Settings.load(_write(tmp_path, 'seed = 3\n[learning]\nrank = 8\nroles = ["user"]\n'))
    found = settings.learning
    assert (settings.seed, found.rank, found.roles) == (3, 8, (Role.USER,))
    assert (found.epochs, settings.gate) == (Settings().learning.epochs, Settings().gate)


@pytest.mark.parametrize("text", ["learning.rank = 8", "[learning]\nrank = 8", '"learning.rank" = 8'])
def test_a_file_may_write_dotted_names_or_tables(tmp_path: Path, text: str) -> None:
    """They are the same name."""
    assert Settings.load(_write(tmp_path, text)) == Settings(learning={"rank": 8})


def test_environment_beats_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable wins over the file, even over a bad value there; the rest of the group stays the file's."""
    monkeypatch.setenv("SEAL_MEMORY_LEARNING__RANK", "16")
    found = Settings.load(_write(tmp_path, "[learning]\nrank = -3\nepochs = 5")).learning
    assert (found.rank, found.epochs) == (16, 5)


def test_explicit_beats_environment_and_none_means_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keywords win; None lets the next source speak, as a command line without that option does."""
    monkeypatch.setenv("SEAL_MEMORY_LEARNING__RANK", "16")
    folder = _write(tmp_path, "seed = 5\nlearning.rank = 8\nlearning.alpha = 8")
    settings = Settings.load(folder, learning={"rank": 4, "alpha": None}, seed=None)
    assert (settings.learning.rank, settings.learning.alpha, settings.seed) == (4, 8.0, 5)


def test_dotted_names_and_groups_are_the_same_keywords() -> None:
    """So that `--set` and a program speak alike; the last one counts."""
    wanted = Settings(learning={"rank": 4, "alpha": 8}, gate={"min_gain": 0})
    assert Settings(**{"learning.rank": 4, "learning.alpha": 8, "gate.min_gain": 0}) == wanted
    assert Settings(learning=LearningSettings(rank=4, alpha=8), **{"gate.min_gain": 0}) == wanted
    assert Settings.load(None, learning={"rank": 2, "alpha": 8}, **{"learning.rank": 4, "gate.min_gain": 0}) == wanted


def test_a_changed_copy_is_validated_and_keeps_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The original stays, and the environment is not read again."""
    old = Settings(seed=2, learning={"rank": 4, "alpha": 8})
    monkeypatch.setenv("SEAL_MEMORY_LEARNING__EPOCHS", "3")
    new = old.changed(learning={"rank": 5}, **{"gate.min_gain": 0.5})
    assert new == Settings.defaults().changed(seed=2, learning={"rank": 5, "alpha": 8}, gate={"min_gain": 0.5})
    assert (old.learning.rank, old.gate) == (4, Settings.defaults().gate)
    with pytest.raises(SettingsError, match=r"setting learning\.rank .* is 0"):
        old.changed(learning={"rank": 0})


def test_a_folder_without_a_file_gives_defaults(tmp_path: Path) -> None:
    """The file is optional, and so is the folder."""
    assert Settings.load(tmp_path) == Settings.load(tmp_path / "missing") == Settings.load(None)


def test_lists_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are read with commas or as JSON; an empty variable counts as not set."""
    monkeypatch.setenv("SEAL_MEMORY_LEARNING__TARGET_MODULES", "q_proj, v_proj")
    monkeypatch.setenv("SEAL_MEMORY_LEARNING__ROLES", '["user", "tool"]')
    monkeypatch.setenv("SEAL_MEMORY_LEARNING__RANK", "")
    learning = Settings.load().learning
    assert learning.target_modules == ("q_proj", "v_proj")
    assert learning.roles == (Role.USER, Role.TOOL)
    assert learning.rank == LearningSettings().rank


def test_cache_dir_expands_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`~` works in a variable as in a shell."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SEAL_MEMORY_ENGINE__CACHE_DIR", "~/models")
    assert Settings.load().engine.cache_dir == tmp_path / "models"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("learning.rank", 0, "greater than or equal to 1"),
        ("background.cpu_share", 0.0, "greater than 0"),
        ("learning.alpha", float("nan"), "finite"),
        ("learning.epochs", "many", "valid integer"),
        ("learning.batch_size", 1.5, "valid integer"),
        ("learning.target_modules", (), "at least 1"),
        ("learning.target_modules", ("q_proj", "q_proj"), "at most once"),
        ("learning.target_modules", "[broken", "tuple"),
        ("learning.roles", ("robot",), "'user'"),
        ("policy.bandit", "perhaps", "boolean"),
        ("policy.executor", "elsewhere", "pattern"),
        ("engine.url", "localhost:8000", "http://localhost:8000"),
        ("seed", -1, "greater than or equal to 0"),
    ],
)
def test_bad_values_name_setting_value_and_expectation(name: str, value: object, expected: str) -> None:
    """The message says which setting, which value, and what was expected."""
    with pytest.raises(SettingsError, match=f"setting {name} ") as caught:
        Settings.load(None, **{name: value})
    shown = value[0] if name == "learning.roles" else value  # type: ignore[index]
    assert repr(shown) in str(caught.value)
    assert expected in str(caught.value)


@pytest.mark.parametrize("executor", ["local", "ray", "ray://head:10001", "10.0.0.1:6379"])
def test_an_executor_is_a_kind_or_an_address(executor: str) -> None:
    """Of a Ray cluster."""
    assert Settings(policy={"executor": executor}).policy.executor == executor


def test_several_bad_values_are_told_at_once() -> None:
    """One round trip mends them all."""
    with pytest.raises(SettingsError, match=r"setting learning\.rank .*; setting gate\.min_gain "):
        Settings.load(None, learning={"rank": 0}, gate={"min_gain": 2})


def test_bad_values_say_where_they_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file's path or the variable's name stands in front; a keyword that won has no file in front."""
    folder = _write(tmp_path, "[learning]\nrank = 0")
    with pytest.raises(SettingsError, match=r"settings\.toml: setting learning\.rank "):
        Settings.load(folder)
    with pytest.raises(SettingsError, match=r"^setting learning\.rank .* is -1"):
        Settings.load(folder, **{"learning.rank": -1})
    monkeypatch.setenv("SEAL_MEMORY_LEARNING__EPOCHS", "x")
    with pytest.raises(
        SettingsError, match=r"^environment variable SEAL_MEMORY_LEARNING__EPOCHS: setting learning\.epochs "
    ):
        Settings()


def test_unknown_names_are_refused_with_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error never goes by unseen, wherever it was made."""
    for wrong in ("rnk", "learning.rnk", "lerning.rank", "gate.rank"):
        with pytest.raises(SettingsError, match=rf"unknown setting '{wrong}'; did you mean learning\.rank\?"):
            Settings.load(None, **{wrong: 1})
    with pytest.raises(SettingsError, match=r"did you mean learning\.epochs\?"):
        Settings(learning={"epoch": 1})
    with pytest.raises(SettingsError, match=r"settings\.toml: unknown setting 'learning\.epoch'.* learning\.epochs\?"):
        Settings.load(_write(tmp_path, "[learning]\nepoch = 1"))
    with pytest.raises(SettingsError, match=r"known settings: seed, learning\."):
        Settings.load(None, zzzzzz=1)
    monkeypatch.setenv("SEAL_MEMORY_LEARNING__ALPAH", "1")
    with pytest.raises(SettingsError, match=r"SEAL_MEMORY_LEARNING__ALPAH; did you mean SEAL_MEMORY_LEARNING__ALPHA\?"):
        Settings.load()


@pytest.mark.parametrize("value", [3, "{}", [1]])
def test_a_group_needs_names(value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group cannot be given as one value, and no text in a variable stands for many."""
    with pytest.raises(SettingsError, match=r"'learning' is a group of settings; .* such as learning\.\w+"):
        Settings(learning=value)
    monkeypatch.setenv("SEAL_MEMORY_LEARNING", str(value))
    with pytest.raises(SettingsError, match=r"SEAL_MEMORY_LEARNING is a group of settings"):
        Settings()


@pytest.mark.parametrize(
    ("old", "new"),
    [("rank", "learning.rank"), ("sleep", "sleep.mode"), ("recite_max_tokens", "gate.quiz_answer_tokens")],
)
def test_an_old_name_is_refused_with_its_new_one(
    old: str, new: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a keyword, in the file and in the environment."""
    with pytest.raises(SettingsError, match=f"^setting '{old}' is now {new}$"):
        Settings(**{old: 1})
    with pytest.raises(SettingsError, match=rf"settings\.toml: setting '{old}' is now {new}$"):
        Settings.load(_write(tmp_path, f"{old} = 1"))
    monkeypatch.setenv(f"SEAL_MEMORY_{old.upper()}", "1")
    with pytest.raises(
        SettingsError, match=f"SEAL_MEMORY_{old.upper()} is now SEAL_MEMORY_{new.upper()}".replace(".", "__")
    ):
        Settings()


@pytest.mark.parametrize("old", ["core_rank", "reward_drift", "model_genres", "router_index"])
def test_a_removed_name_says_so(old: str) -> None:
    """With the reason, or what to write instead."""
    with pytest.raises(SettingsError, match=f"setting '{old}' was removed: "):
        Settings(**{old: 1})


def test_old_names_lead_to_settings_that_exist() -> None:
    """And no old name is both renamed and removed, or a setting still."""
    assert set(RENAMED.values()) <= set(setting_fields())
    assert not (RENAMED.keys() | REMOVED.keys()) & setting_fields().keys()
    assert not RENAMED.keys() & REMOVED.keys()


def test_other_rooms_variables_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line's own variables and test hooks are left alone."""
    monkeypatch.setenv("SEAL_MEMORY_FOLDER", "/anywhere")
    monkeypatch.setenv("SEAL_MEMORY_TEST_KILL_AT", "publish")
    assert Settings.load() == Settings()


@pytest.mark.parametrize("content", [b"rank 8", b"seed = 8\nseed = 9", b"\xff\xfe\x00"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    """Broken TOML and binary junk are one clear error with the file's path."""
    (tmp_path / SETTINGS_FILE).write_bytes(content)
    with pytest.raises(SettingsError, match=r"settings\.toml"):
        Settings.load(tmp_path)


def test_settings_are_frozen() -> None:
    """Nothing changes a setting after it was validated."""
    with pytest.raises(ValueError, match="frozen"):
        Settings().learning.rank = 3  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        Settings().learning = LearningSettings()  # type: ignore[misc]


@given(rank=st.integers(1, 512), share=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_settings_survive_a_round_trip(rank: int, share: float, seed: int) -> None:
    """What was dumped as JSON, in groups or flat, loads as the same settings."""
    settings = Settings(learning={"rank": rank}, answering={"router_threshold": share}, seed=seed)
    assert Settings.load(None, **settings.model_dump(mode="json")) == settings
    assert Settings.load(None, **settings.flat()) == settings


def test_every_setting_has_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting can be set by SEAL_MEMORY_<GROUP>__<NAME>, lists by commas."""
    wanted: dict[str, Any] = {name: value for name, value in Settings.defaults().flat().items() if value is not None}
    for name, value in wanted.items():
        text = ",".join(value) if isinstance(value, list) else str(value)
        monkeypatch.setenv(ENV_PREFIX + name.upper().replace(".", "__"), text)
    assert Settings.load() == Settings.defaults()
    assert Settings.load().model_fields_set == set(Settings.model_fields)
