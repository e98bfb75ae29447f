"""What delphi makes of a folder, as JSON: run by a Python that has eai-delphi, not by ours."""

import json
import sys
from pathlib import Path

import orjson
import torch
from delphi.latents.loader import LatentDataset, TensorBuffer

folder = Path(sys.argv[1])
(hook,) = (folder / "latents").iterdir()
found = {}
for path in hook.glob("*.safetensors"):
    for one in TensorBuffer(str(path), hook.name):
        data = one.activation_data
        found[one.latent.latent_index] = {
            "count": len(data.activations),
            "highest": float(data.activations.max()),
        }
said = {
    path.stem: orjson.loads(path.read_bytes())
    for path in (folder / "explanations").glob(f"{hook.name}_latent*.txt")
}
assert torch.is_tensor(TensorBuffer(str(next(hook.glob("*.safetensors"))), hook.name).tokens)
assert LatentDataset
print(json.dumps({"latents": found, "explanations": said}))
