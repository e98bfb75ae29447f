"""Where Ollama, LM Studio, llama.cpp and the Hugging Face hub keep GGUF files, in folders made as theirs."""

from __future__ import annotations

import json
import os
import struct

import pytest
import typer
from typer.testing import CliRunner

from saywell.cli.doctor import doctor
from saywell.language_models.doctor import check_providers
from saywell.language_models.gguf_caches import cached_models
from saywell.language_models.gguf_file import GgufFile

CHAT = {"general.architecture": "llama", "llama.context_length": 512, "tokenizer.chat_template": "{{ x }}"}


def gguf(path, weight=0, **values):
    """The header of a GGUF file, and so many bytes after it."""

    def text(said):
        return struct.pack("<Q", len(said.encode())) + said.encode()

    data = b"GGUF" + struct.pack("<IQQ", 3, 0, len(values))
    for name, value in values.items():
        whole = isinstance(value, int)
        data += text(name) + (struct.pack("<II", 4, value) if whole else struct.pack("<I", 8) + text(value))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data + bytes(weight))
    return path


def ollama(folder, name, model, *, media="application/vnd.ollama.image.model", digest=None):
    """As `ollama pull` leaves it: a manifest that names its layers, and a blob for each."""
    digest = digest or f"sha256:{abs(hash(name)):064x}"[:71]
    layers = [
        {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:" + "1" * 64, "size": 3},
        {"mediaType": media, "digest": digest, "size": 5},
    ]
    manifest = folder / "manifests" / name
    manifest.parent.mkdir(parents=True, exist_ok=True)
    config = {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": "sha256:" + "2" * 64}
    manifest.write_text(json.dumps({"schemaVersion": 2, "config": config, "layers": layers}))
    blob = folder / "blobs" / digest.replace(":", "-")
    if model is not None:
        gguf(blob, **model)
    return blob


def hub(folder, repository, file, revision="0" * 40, **values):
    """As the hub's client leaves it: a snapshot that links to a blob."""
    place = folder / f"models--{repository.replace('/', '--')}"
    blob = gguf(place / "blobs" / f"{abs(hash(file)):064x}", **values)
    link = place / "snapshots" / revision / file
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(blob, link.parent))
    return link


def names(seen):
    return {(model.program, model.name) for model in seen.models}


def test_the_models_of_each_program_are_found(tmp_path):
    store = tmp_path / ".ollama/models"
    blob = ollama(store, "registry.ollama.ai/library/llama3.2/1b", CHAT)
    ollama(store, "registry.ollama.ai/somebody/tuned/latest", CHAT)
    ollama(store, "hf.co/bartowski/SmolLM2-GGUF/Q4_K_M", CHAT)
    ollama(store, "registry.ollama.ai/library/gone/latest", None)
    ollama(store, "registry.ollama.ai/library/embed/latest", {"general.architecture": "bert"})
    studio = tmp_path / ".lmstudio/models/infra-ai/ocelot-v1"
    gguf(studio / "ocelot-v1-q4_0.gguf", 1000, **CHAT)
    gguf(studio / "mmproj-ocelot-v1.gguf", **CHAT)
    gguf(tmp_path / ".cache/llama.cpp/ggml-org_gemma-3-1b-it-GGUF_gemma-3-1b-it-Q4_K_M.gguf", **CHAT)
    (tmp_path / ".cache/llama.cpp/manifest=ggml-org=x.json").write_text("{}")
    split = tmp_path / ".cache/llama.cpp/big-00001-of-00002.gguf"
    first = gguf(split, 100, **CHAT, **{"split.count": 2})
    second = gguf(split.with_name("big-00002-of-00002.gguf"), 500, **{"split.count": 2})
    cache = tmp_path / ".cache/huggingface/hub"
    link = hub(cache, "Qwen/Qwen2.5-0.5B-Instruct-GGUF", "qwen2.5-0.5b-instruct-q4_k_m.gguf", **CHAT)
    other = cache / "models--Qwen--Qwen2.5-0.5B-Instruct-GGUF/snapshots" / ("1" * 40) / link.name
    other.parent.mkdir(parents=True)
    other.symlink_to(link.resolve())
    seen = cached_models({}, tmp_path)
    assert names(seen) == {
        ("Ollama", "llama3.2:1b"),
        ("Ollama", "somebody/tuned:latest"),
        ("Ollama", "hf.co/bartowski/SmolLM2-GGUF:Q4_K_M"),
        ("LM Studio", "infra-ai/ocelot-v1/ocelot-v1-q4_0.gguf"),
        ("llama.cpp", "ggml-org_gemma-3-1b-it-GGUF_gemma-3-1b-it-Q4_K_M.gguf"),
        ("llama.cpp", "big-00001-of-00002.gguf"),
        ("Hugging Face", "Qwen/Qwen2.5-0.5B-Instruct-GGUF/qwen2.5-0.5b-instruct-q4_k_m.gguf"),
    }
    assert seen.others == 2 and seen.whole  # a blob that is gone, and a model that cannot chat
    by_name = {model.name: model for model in seen.models}
    assert by_name["llama3.2:1b"].path == str(blob)
    assert by_name["big-00001-of-00002.gguf"].size == first.stat().st_size + second.stat().st_size
    assert all(GgufFile.read(tmp_path / model.path).context == 512 for model in seen.models)


def test_variables_and_pointers_lead_elsewhere(tmp_path):
    ollama(tmp_path / "o", "registry.ollama.ai/library/here/latest", CHAT)
    ollama(tmp_path / "home/.ollama/models", "registry.ollama.ai/library/not/latest", CHAT)
    gguf(tmp_path / "l/flat.gguf", **CHAT)
    hub(tmp_path / "l", "org/name", "as-the-hub.gguf", **CHAT)
    hub(tmp_path / "h/hub", "org/other", "x.gguf", **CHAT)
    gguf(tmp_path / "s/models/a/b/c.gguf", **CHAT)
    (tmp_path / "home/.lmstudio-home-pointer").write_text(f"{tmp_path / 's'}\n")
    env = {
        "OLLAMA_MODELS": str(tmp_path / "o"),
        "LLAMA_CACHE": str(tmp_path / "l"),
        "HF_HOME": str(tmp_path / "h"),
    }
    assert names(cached_models(env, tmp_path / "home")) == {
        ("Ollama", "here:latest"),
        ("llama.cpp", "flat.gguf"),
        ("llama.cpp", "org/name/as-the-hub.gguf"),
        ("Hugging Face", "org/other/x.gguf"),
        ("LM Studio", "a/b/c.gguf"),
    }


@pytest.mark.parametrize("digest", ["sha256:../../../secret", "../../secret", "sha256-" + "a" * 64, 7, None])
def test_a_manifest_leads_to_blobs_only(tmp_path, digest):
    gguf(tmp_path / "secret", **CHAT)
    store = tmp_path / ".ollama/models"
    ollama(store, "registry.ollama.ai/library/x/latest", None)
    manifest = store / "manifests/registry.ollama.ai/library/x/latest"
    said = json.loads(manifest.read_text())
    said["layers"][1]["digest"] = digest
    manifest.write_text(json.dumps(said))
    assert cached_models({}, tmp_path).models == []
    for text in ("", "[]", "{}", "[" * 100_000, '{"layers": 3}', '{"layers": [3]}'):
        manifest.write_text(text)
        assert cached_models({}, tmp_path).models == []


def test_a_huge_folder_is_not_looked_through_and_hides_no_other(tmp_path):
    studio = tmp_path / ".lmstudio/models/a/b"
    studio.mkdir(parents=True)
    for n in range(60):
        (studio / f"{n}.txt").touch()
    deep = tmp_path / ".lmstudio/models/a/b/c/d/e"
    gguf(deep / "too-deep.gguf", **CHAT)
    (tmp_path / ".lmstudio/models/loop").symlink_to(tmp_path)
    hub(tmp_path / ".cache/huggingface/hub", "org/name", "x.gguf", **CHAT)
    seen = cached_models({}, tmp_path, most=40)
    assert not seen.whole and names(seen) == {("Hugging Face", "org/name/x.gguf")}
    assert cached_models({}, tmp_path).whole
    ticks = iter(range(10_000))
    slow = cached_models({}, tmp_path, clock=lambda: float(next(ticks)))
    assert not slow.whole and next(ticks) < 50


def test_doctor_names_each_and_the_option_that_asks_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("OLLAMA_MODELS", "LLAMA_CACHE", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    path = gguf(tmp_path / ".lmstudio/models/a/b/with a blank.gguf", 2_600_000, **CHAT)
    gguf(tmp_path / ".lmstudio/models/a/b/\x1b[31mred.gguf", **CHAT)
    app = typer.Typer()
    app.command()(doctor)
    output = CliRunner().invoke(app).output
    assert "a/b/with a blank.gguf" in output and f"--llm 'gguf:{path}'" in output and "\x1b" not in output
    check = next(check for check in check_providers({}, tmp_path) if check.name == "gguf")
    assert [model.path for model in check.models] == [str(path)]
    listed = json.loads(CliRunner().invoke(app, ["--json"]).output)
    assert next(c for c in listed if c["name"] == "gguf")["models"][0]["program"] == "LM Studio"
