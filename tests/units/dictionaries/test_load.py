"""Finding a dictionary among files, and refusing what is none."""

import json
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from saywell.errors import InputError
from saywell.units.dictionaries.dictionary import Dictionary, Made
from saywell.units.dictionaries.load import load_dictionary
from saywell.units.dictionaries.rules import TopK

D, L = 4, 8


def weights(dtype=torch.float32, **more):
    random = torch.Generator().manual_seed(1)
    shapes = dict(W_enc=(D, L), b_enc=(L,), W_dec=(L, D), b_dec=(D,))
    return {name: torch.randn(shape, generator=random).to(dtype) for name, shape in shapes.items()} | more


def turned():
    return {name: array.mT if array.ndim == 2 else array for name, array in weights().items()}


CFG = dict(
    **dict(architecture="standard", d_in=D, d_sae=L, apply_b_dec_to_input=True, normalize_activations="none"),
    metadata=dict(
        sae_lens_version="6.1.0",
        hook_name="blocks.3.hook_z",
        hook_head_index=2,
        model_name="m",
        prepend_bos=True,
    ),
)


def saelens(folder, held=None, **cfg):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cfg.json").write_text(json.dumps(CFG | cfg))
    save_file(weights() if held is None else held, folder / "sae_weights.safetensors")
    save_file({"sparsity": torch.zeros(L)}, folder / "sparsity.safetensors")
    return folder


def test_a_folder_its_file_and_one_above_give_the_same_and_say_where_it_is_from(tmp_path):
    folder = saelens(tmp_path / "blocks.3")
    found = [
        load_dictionary(place) for place in (folder, folder / "sae_weights.safetensors", str(tmp_path) + "/")
    ]
    assert len({loaded.dictionary.fingerprint for loaded in found}) == 1
    assert {loaded.made for loaded in found} == {
        Made("SAELens", "m", "blocks.3.hook_z", None, 2, True, None, None, "blocks.3")
    }


def test_before_version_6_settings_had_other_names(tmp_path):
    save_file(weights(), tmp_path / "sae_weights.safetensors")
    old = dict(hook_point="blocks.1.hook_resid_pre", hook_point_head_index=2, model_name="m", context_size=64)
    (tmp_path / "cfg.json").write_text(json.dumps(old | {"sae_lens_version": "5.10.2"}))
    name = tmp_path.name
    assert load_dictionary(tmp_path).made == Made(
        "SAELens", "m", old["hook_point"], None, 2, True, 64, None, name
    )


def test_without_a_version_what_metadata_says_counts_too(tmp_path):
    said = dict(
        hook_name="blocks.1.ln2.hook_normalized", hook_name_out="blocks.1.hook_mlp_out", model_name="m"
    )
    folder = saelens(tmp_path / "t", metadata=said | {"prepend_bos": False})
    made = load_dictionary(folder).made
    assert (made.hook, made.hook_out, made.model, made.bos) == (*said.values(), False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_precision_become_single(tmp_path, dtype):
    half = load_dictionary(saelens(tmp_path / "a", weights(dtype))).dictionary
    assert half.encoder.dtype == half.centre.dtype == torch.float32
    assert torch.equal(half.encoder, weights(dtype)["W_enc"].T.float())


def test_of_several_one_has_to_be_named(tmp_path):
    for layer in (10, 9, 2):
        saelens(tmp_path / f"layers.{layer}")
    with pytest.raises(InputError, match=r"/NAME: layers\.2, layers\.9, layers\.10$"):
        load_dictionary(tmp_path)
    assert load_dictionary(tmp_path / "layers.9").made.own == "layers.9"
    saelens(tmp_path)  # one in the folder itself counts before those of its checkpoints
    assert load_dictionary(tmp_path).made.own == tmp_path.name
    many = tmp_path / "SAE-Res-Qwen3-8B-Base-W64K-L0_2"
    many.mkdir()
    for layer in range(12):
        torch.save(turned(), many / f"layer{layer}.sae.pt")
    with pytest.raises(InputError, match=r"layer0\.sae\.pt, layer1\.sae\.pt, .*layer7\.sae\.pt and 4 more"):
        load_dictionary(many)
    loaded = load_dictionary(many / "layer11.sae.pt")
    assert loaded.dictionary.rule == TopK(2)
    assert loaded.made.hook == "blocks.11.hook_resid_post" and loaded.made.model == "Qwen/Qwen3-8B-Base"


def test_what_was_saved_here_comes_back_with_where_it_is_from(tmp_path):
    w = weights()
    dictionary = Dictionary(w["W_enc"].T, w["b_enc"], w["W_dec"], w["b_dec"], TopK(2, signed=True))
    dictionary.save(tmp_path / "own.safetensors", Made("saywell", hook="model.layers.1:out", bos=False))
    loaded = load_dictionary(tmp_path)
    assert loaded.dictionary.fingerprint == dictionary.fingerprint
    assert loaded.made == Made("saywell", hook="model.layers.1:out", bos=False, own="own.safetensors")
    dictionary.save(tmp_path / "own.safetensors")
    assert load_dictionary(tmp_path / "own.safetensors").made == Made("saywell", own="own.safetensors")


@pytest.mark.parametrize(
    "place, hook, hook_out",
    [
        ("gemma-scope-9b-it-res/layer_7/width_16k/average_l0_14", "blocks.7.hook_resid_post", None),
        (
            "models--google--gemma-scope-2b-pt-att/snapshots/0a/layer_0/width_16k/average_l0_1",
            "blocks.0.attn.hook_z",
            None,
        ),
        (
            "gemma-scope-2b-pt-transcoders/layer_3/width_16k/average_l0_1",
            *("blocks.3.ln2.hook_normalized", "blocks.3.hook_mlp_out"),
        ),
        ("embedding/of/mine", None, None),
    ],
)
def test_the_place_of_gemma_scope_is_in_the_names_of_folders(tmp_path, place, hook, hook_out):
    folder = tmp_path / place
    folder.mkdir(parents=True)
    np.savez(
        folder / "params.npz",
        **{name: array.numpy() for name, array in weights(threshold=torch.ones(L)).items()},
    )
    loaded = load_dictionary(folder)
    assert (loaded.made.hook, loaded.made.hook_out, loaded.made.bos) == (hook, hook_out, True)
    assert torch.equal(
        loaded.dictionary.encoder, weights()["W_enc"].T
    )  # a folder of that name alone scales nothing


def test_a_square_matrix_is_turned_as_its_name_says(tmp_path):
    square, other, bias = torch.rand(D, D), torch.rand(D, D), torch.rand(D)
    (tmp_path / "cfg.json").write_text('{"architecture": "standard", "apply_b_dec_to_input": true}')
    save_file(dict(W_enc=square, b_enc=bias, W_dec=other, b_dec=bias.clone()), tmp_path / "a.safetensors")
    named = {"encoder.weight": square, "encoder.bias": bias, "decoder.weight": other, "decoder.bias": bias}
    save_file({name: array.clone() for name, array in named.items()}, tmp_path / "b.safetensors")
    one, two = (load_dictionary(tmp_path / f"{name}.safetensors").dictionary for name in "ab")
    assert torch.equal(one.encoder, square.T) and torch.equal(one.decoder, other)
    assert torch.equal(two.encoder, square) and torch.equal(two.decoder, other.T)


def no_k(folder):
    folder.mkdir()
    torch.save(turned(), folder / "layer1.sae.pt")


def two_threes(folder):
    (folder / "one").mkdir(parents=True)
    (folder / "one" / "config.json").write_text('{"trainer": {"dict_class": "AutoEncoderTopK", "k": 3}}')
    linear = {
        "encoder.weight": torch.ones(L, D),
        "encoder.bias": torch.ones(L),
        "decoder.weight": torch.ones(D, L),
    }
    torch.save(linear | {"b_dec": torch.ones(D), "k": torch.tensor(4)}, folder / "one" / "ae.pt")


class Evil:
    """Leaves a file beside a folder when it is read."""

    def __init__(self, folder):
        self.file = folder.with_name("evil")

    def __reduce__(self):
        return os.system, (f"touch {self.file}",)


def pickled(folder):
    folder.mkdir()
    (folder / "ae.pt").write_bytes(pickle.dumps(Evil(folder)))
    (folder / "config.json").write_text('{"trainer": {"dict_class": "AutoEncoder"}}')


def objects_in_npz(folder):
    folder.mkdir()
    np.savez(folder / "params.npz", W_enc=np.array([Evil(folder)], dtype=object))


def view_of_one_number(folder):
    folder.mkdir()
    held = weights() | {"W_enc": torch.zeros(1).expand(10**6, 10**6)}
    torch.save({f"{name}": array for name, array in held.items()}, folder / "layer1.sae.pt")
    (folder / "cfg.json").write_text('{"k": 2}')


def header_of_a_huge_array(folder):
    folder.mkdir()
    with zipfile.ZipFile(folder / "params.npz", "w") as file:
        from io import BytesIO

        head = BytesIO()
        np.lib.format.write_array_header_1_0(
            head, dict(descr="<f4", fortran_order=False, shape=(1 << 30, 1 << 30))
        )
        file.writestr("W_enc.npy", head.getvalue())


def cut_short(folder):
    file = saelens(folder) / "sae_weights.safetensors"
    file.write_bytes(file.read_bytes()[:-40])


def pipe(folder):
    saelens(folder)
    (folder / "sae_weights.safetensors").unlink()
    os.mkfifo(folder / "sae_weights.safetensors")


def without(name):
    return lambda folder: saelens(folder, {key: array for key, array in weights().items() if key != name})


def plain(held=None, settings=None):
    def write(folder):
        folder.mkdir()
        save_file(weights() if held is None else held, folder / "mine.safetensors")
        if settings is not None:
            (folder / "mine.json").write_text(settings)

    return write


BAD = [
    (
        lambda folder: folder.mkdir(),
        "holds no dictionary: none of its files is called sae_weights.safetensors",
    ),
    (without("b_enc"), r"has no 'b_enc'; it holds W_dec, W_enc, b_dec"),
    (
        lambda f: saelens(f, weights(b_enc=torch.ones(3))),
        r"b_enc in .* has the shape \(3,\), where \(8,\) is meant",
    ),
    (lambda f: saelens(f, weights(W_enc=torch.ones(L, D))), r"'?d_in 4, and the arrays beside it are of 8"),
    (lambda f: saelens(f, d_sae=9), "says d_sae 9, and the arrays beside it are of 8"),
    (lambda f: saelens(f, weights(W_dec=torch.ones(2, 2, 2))), "where a matrix is meant"),
    (lambda f: saelens(f, weights(W_dec=torch.full((L, D), torch.nan))), "decoder in .* NaN or infinite"),
    (lambda f: saelens(f, weights(b_dec=torch.full((D,), torch.inf))), "centre in .* NaN or infinite"),
    (
        lambda f: saelens(f, weights(b_dec=torch.zeros(D, dtype=torch.complex64))),
        "no plain array of real numbers",
    ),
    (lambda f: saelens(f, architecture="temporal"), "hangs on all tokens before it"),
    (lambda f: saelens(f, architecture="../../etc/passwd"), "read are standard, gated"),
    (lambda f: saelens(f, architecture="topk"), "'k' in .* is None, where a whole number is meant"),
    (lambda f: saelens(f, architecture="topk", k=9), "k=9 of 8 latents cannot be active"),
    (lambda f: saelens(f, architecture="topk", k=0), "k=0 of 8"),
    (lambda f: saelens(f, architecture="topk", k=2.5), "'k' in .* is 2.5"),
    (lambda f: saelens(f, architecture="topk", k=10**400), "k=10000"),
    (lambda f: saelens(f, architecture="topk", k=True), "'k' in .* 'True', where a int or float"),
    (lambda f: saelens(f, architecture="transcoder"), "b_dec of a transcoder is of its output"),
    (lambda f: saelens(f, apply_b_dec_to_input="no"), "'apply_b_dec_to_input' in .* 'no'"),
    (lambda f: saelens(f, normalize_activations="l2"), "'normalize_activations' in .* 'l2'; read are none"),
    (
        lambda f: saelens(f, normalize_activations="expected_average_only_in"),
        "no activation_scaler.json beside it",
    ),
    (
        lambda f: saelens(f, normalize_activations="covariance_whitening"),
        "no activation_whitening.safetensors",
    ),
    (lambda f: saelens(f, weights(scaling_factor=torch.full((L,), 2.0))), "says that none is used"),
    (lambda f: saelens(f, metadata=[1]), r"'metadata' in .* '\[1\]', where a dict is meant"),
    (lambda f: (saelens(f) / "cfg.json").write_text("[" * 10**5), "is not JSON"),
    (lambda f: (saelens(f) / "cfg.json").write_text("[1]"), "is not a JSON object"),
    (lambda f: (saelens(f) / "cfg.json").unlink(), "there is no cfg.json in .*, which says how it encodes"),
    (cut_short, "cannot be read as .safetensors"),
    (pipe, "a pipe, no regular file"),
    (pickled, "could run code, so it is not read"),
    (objects_in_npz, "cannot be read as .npz: Object arrays"),
    (header_of_a_huge_array, "cannot be read as .npz"),
    (view_of_one_number, "no plain array of real numbers"),
    (no_k, r'keep that name for the folder, or write a cfg.json beside it: \{"k": 50\}'),
    (two_threes, "says k 3, and the arrays beside it are of 4"),
    (plain(), r"nothing says which latents fire .* and whether b_dec is taken off .*write mine.json"),
    (plain(settings='{"architecture": "standard"}'), "nothing says whether b_dec is taken off"),
    (plain({"model.weight": torch.ones(2)}), "has no 'W_enc'; it holds model.weight"),
]


@pytest.mark.parametrize("write, said", BAD, ids=range(len(BAD)))
def test_what_is_no_dictionary_gets_one_clear_error(tmp_path, write, said):
    write(tmp_path / "bad")
    with pytest.raises(InputError, match=said):
        load_dictionary(tmp_path / "bad")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("where", ["no/such/../folder", "nothing here", "a\0b", "/no/such", "~nobody/x"])
def test_what_is_nowhere(where):
    with pytest.raises(InputError, match="there is no file or folder"):
        load_dictionary(where)


def test_links_are_not_followed_in_search_of_one(tmp_path):
    saelens(tmp_path / "elsewhere")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path)
    with pytest.raises(InputError, match="holds no dictionary"):
        load_dictionary(tmp_path / "here")


class Hub:
    """A repository on disk in the place of the hub; what is fetched is kept, the rest is not there."""

    def __init__(self, monkeypatch, root, reached=True):
        import huggingface_hub

        self.root, self.asked, self.reached = root, [], reached
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: self)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self.snapshot_download)

    def list_repo_files(self, repository):
        if not self.reached:
            raise OSError("no route to host")
        assert repository == "org/saes"
        return [file.relative_to(self.root).as_posix() for file in self.root.rglob("*") if file.is_file()]

    def snapshot_download(self, repository, allow_patterns=None, local_files_only=False):
        if local_files_only and self.root is None:
            raise OSError("not in the cache")
        self.asked.append(allow_patterns)
        return str(self.root)


def test_of_a_repository_the_files_of_one_dictionary_are_fetched(tmp_path, monkeypatch):
    saelens(tmp_path / "layer [1]")
    saelens(tmp_path / "layer_2")
    hub = Hub(monkeypatch, tmp_path)
    with pytest.raises(InputError, match=r"'org/saes' holds several dictionaries; .*: layer \[1\], layer_2"):
        load_dictionary("org/saes")
    with pytest.raises(InputError, match="has no 'layer_3'; it has layer_2"):
        load_dictionary("org/saes/layer_3")
    assert not hub.asked
    assert load_dictionary("org/saes/layer_2").made.own == "org/saes/layer_2"
    [asked] = hub.asked
    assert "layer_2/sae_weights.safetensors" in asked and "layer_2/cfg.json" in asked and len(asked) == 6
    assert load_dictionary("org/saes/layer_2/sae_weights.safetensors").dictionary.latents == L


def test_no_character_of_a_name_in_a_repository_stands_for_others(tmp_path, monkeypatch):
    saelens(tmp_path / "layer [1]")
    hub = Hub(monkeypatch, tmp_path)
    assert load_dictionary("org/saes").dictionary.latents == L
    assert "layer [[]1]/sae_weights.safetensors" in hub.asked[0]


def test_where_the_hub_is_not_reached_what_was_fetched_before_counts(tmp_path, monkeypatch):
    saelens(tmp_path / "layer_2")
    Hub(monkeypatch, tmp_path, reached=False)
    assert load_dictionary("org/saes").dictionary.latents == L
    Hub(monkeypatch, None, reached=False)
    with pytest.raises(InputError, match="no route to host"):
        load_dictionary("org/saes")
