"""TracIn of a linear head: time and memory of saywell, captum, dattri and kronfluence.

Run: python benchmarks/influence.py [--peer-python PATH] [--classes 10 100] [--only NAME ...]

5,000 training and 1,000 validation examples of 512 numbers, 10 checkpoints, float32. Each line is
a process of its own: seconds of the computation and processor seconds of all its threads (best of
--repeats; the second hardly depends on what else runs), the memory it added at its peak, results
included, and the largest difference from saywell's float64 answer, relative to the largest
influence. "products of the mean" is what the mean over validation takes if all but its matrix
products were free. Peers are not dependencies of saywell: an interpreter that has them (a throwaway
environment) is given with --peer-python; those it lacks are named as such. kronfluence knows one
checkpoint at a time and no learning rates, so it runs once a checkpoint and its scores are
summed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

N, M, DIM, CHECKPOINTS = 5_000, 1_000, 512, 10
METHODS = {
    "saywell pairwise": "saywell",
    "saywell mean over validation": "saywell",
    "products of the mean, nothing else": "saywell",
    "captum TracInCPFast, batch 64": "captum",
    "captum TracInCPFast, batch 5000": "captum",
    "captum TracInCP, batch 64": "captum",
    "captum TracInCP, batch 1000": "captum",
    "dattri, projection off": "dattri",
    "kronfluence, identity": "kronfluence",
}


def data(classes: int) -> tuple[Any, Any, Any]:
    from saywell.influence.tracin import HeadCheckpoints, Labelled

    random = np.random.default_rng(0)

    def examples(count: int) -> Labelled:
        vectors = random.normal(size=(count, DIM)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return Labelled(torch.from_numpy(vectors), torch.as_tensor(random.integers(0, classes, count)))

    weights = torch.tensor(random.normal(size=(CHECKPOINTS, classes, DIM)), dtype=torch.float32)
    biases = torch.tensor(random.normal(size=(CHECKPOINTS, classes)), dtype=torch.float32)
    return (examples(N), examples(M), HeadCheckpoints(weights, biases, np.linspace(0.1, 0.01, CHECKPOINTS)))


def prepare(method: str, classes: int, folder: Path) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """What is timed, and what gives the right answer to compare it with."""
    from saywell.influence import tracin

    train, validation, head = data(classes)
    exact: dict[str, Any] = {"dtype": torch.float64}
    functions = {
        "saywell pairwise": partial(tracin.pairwise, train, validation, head),
        "saywell mean over validation": partial(tracin.mean_over, train, validation, head),
        "products of the mean, nothing else": partial(products, train, validation, head),
    }
    if method.startswith("products"):
        return functions[method], functions[method]
    if method in functions:
        return functions[method], partial(functions[method], **exact)
    # TracInCPFast leaves the bias out.
    fast = "TracInCPFast" in method
    truth = partial(tracin.pairwise, train, validation, head, bias=not fast, **exact)
    paths = []
    for j in range(CHECKPOINTS):
        path = folder / f"{j}.pt"
        torch.save({"fc.weight": head.weights[j], "fc.bias": head.biases[j]}, path)
        paths.append(str(path))
    peer = {"captum": with_captum, "dattri": with_dattri, "kronfluence": with_kronfluence}[METHODS[method]]
    return peer(method, classes, paths, train, validation, head, folder), truth


def products(train: Any, validation: Any, head: Any) -> np.ndarray:
    """The four matrix products that the mean over validation cannot do without.

    Every example's logits at every checkpoint, the mean gradient, and every training example's
    product with it.
    """
    flat = head.weights.reshape(-1, DIM)
    errors, along = validation.features @ flat.T, train.features @ flat.T
    return (along.sum(0) + (train.features @ (errors.T @ validation.features).T).sum(0)).numpy()


class Head(torch.nn.Module):
    """A linear classifier, as the peers want it."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(DIM, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        return self.fc(x)


def with_captum(
    method: str, classes: int, paths: list[str], train: Any, validation: Any, head: Any, folder: Path
) -> Callable[[], Any]:
    from captum.influence import TracInCP, TracInCPFast  # type: ignore[import-not-found]

    batch = int(method.rsplit(" ", 1)[1])
    model = Head(classes)
    rates = dict(zip(paths, head.rates.tolist(), strict=True))

    def load(target: torch.nn.Module, path: str) -> float:
        target.load_state_dict(torch.load(path))
        return rates[path]

    dataset = torch.utils.data.TensorDataset(train.features, train.labels)
    options = {"checkpoints_load_func": load, "batch_size": batch}
    if "Fast" in method:
        loss = torch.nn.CrossEntropyLoss(reduction="sum")
        tracer = TracInCPFast(model, model.fc, dataset, paths, loss_fn=loss, **options)
    else:
        loss = torch.nn.CrossEntropyLoss(reduction="sum")
        tracer = TracInCP(model, dataset, paths, loss_fn=loss, sample_wise_grads_per_batch=True, **options)
    return lambda: tracer.influence((validation.features, validation.labels)).T.detach().numpy()


def with_dattri(
    method: str, classes: int, paths: list[str], train: Any, validation: Any, head: Any, folder: Path
) -> Callable[[], Any]:
    import dattri.algorithm.tracin as module  # type: ignore[import-not-found]
    from dattri.task import AttributionTask  # type: ignore[import-not-found]

    module.DEFAULT_PROJECTOR_KWARGS = None  # it projects to 512 numbers unasked
    model = Head(classes)

    def loss(parameters: Any, given: Any) -> torch.Tensor:
        x, y = given
        output = torch.func.functional_call(model, parameters, (x,))
        return torch.nn.functional.cross_entropy(output, y)

    task = AttributionTask(loss, model, [torch.load(path) for path in paths])
    rates = torch.tensor(head.rates, dtype=torch.float32)

    def loader(examples: Any, size: int) -> Any:
        dataset = torch.utils.data.TensorDataset(examples.features, examples.labels)
        return torch.utils.data.DataLoader(dataset, batch_size=size)

    tracer = module.TracInAttributor(task, rates, normalized_grad=False)
    return lambda: tracer.attribute(loader(train, 1000), loader(validation, 1000)).numpy()


def with_kronfluence(
    method: str, classes: int, paths: list[str], train: Any, validation: Any, head: Any, folder: Path
) -> Callable[[], Any]:
    from kronfluence.analyzer import Analyzer, prepare_model  # type: ignore[import-not-found]
    from kronfluence.arguments import FactorArguments, ScoreArguments  # type: ignore[import-not-found]
    from kronfluence.task import Task  # type: ignore[import-not-found]

    class Classification(Task):
        def compute_train_loss(self, batch: Any, model: Any, sample: bool = False) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(model(batch[0]), batch[1], reduction="sum")

        def compute_measurement(self, batch: Any, model: Any) -> torch.Tensor:
            return self.compute_train_loss(batch, model)

    def dataset(examples: Any) -> Any:
        return torch.utils.data.TensorDataset(examples.features, examples.labels)

    def run() -> np.ndarray:
        total = np.zeros((N, M))
        for number, (path, rate) in enumerate(zip(paths, head.rates, strict=True)):
            model = Head(classes)
            model.load_state_dict(torch.load(path))
            task = Classification()
            analyzer = Analyzer(
                f"at{number}",
                prepare_model(model, task),
                task,
                output_dir=str(folder / "k"),
                cpu=True,
                disable_tqdm=True,
                disable_model_save=True,
            )
            analyzer.fit_all_factors(
                "identity",
                dataset(train),
                per_device_batch_size=1000,
                overwrite_output_dir=True,
                factor_args=FactorArguments(strategy="identity"),
            )
            analyzer.compute_pairwise_scores(
                "scores",
                "identity",
                dataset(validation),
                dataset(train),
                per_device_query_batch_size=1000,
                per_device_train_batch_size=1000,
                score_args=ScoreArguments(),
                overwrite_output_dir=True,
            )
            total += rate * analyzer.load_pairwise_scores("scores")["all_modules"].T.float().numpy()
        return total

    return run


def measure(method: str, classes: int, repeats: int, threads: int) -> dict[str, float]:
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        run, truth = prepare(method, classes, Path(folder))
        before, peak, done = resident(), 0, threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(0.005):
                peak = max(peak, resident())

        watcher = threading.Thread(target=watch)
        watcher.start()
        seconds, busy = [], []
        found = None
        for _ in range(repeats):
            start, used = time.perf_counter(), time.process_time()
            found = run()
            seconds.append(time.perf_counter() - start)
            busy.append(time.process_time() - used)
        done.set()
        watcher.join()
    expected = truth()
    error = float(np.abs(found - expected).max() / np.abs(expected).max())
    return {"seconds": min(seconds), "busy": min(busy), "mb": max(peak - before, 0) / 1e6, "error": error}


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--only", nargs="+", default=[], help="words that a method's name must contain")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        if importlib.util.find_spec(METHODS[options.measure]) is None:
            print(json.dumps({"absent": METHODS[options.measure]}))
            return
        print(json.dumps(measure(options.measure, options.classes[0], options.repeats, options.threads)))
        return
    print(f"{'method':34} {'classes':>7} {'seconds':>9} {'cpu s':>9} {'added MB':>9} {'difference':>10}")
    for method, package in METHODS.items():
        if options.only and not any(word in method for word in options.only):
            continue
        for classes in options.classes:
            own = package == "saywell"
            command = [
                sys.executable if own else options.peer_python,
                __file__,
                "--measure",
                method,
                "--classes",
                str(classes),
                "--threads",
                str(options.threads),
                "--repeats",
                str(options.repeats if own or "Fast" in method else 1),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                reason = done.stderr.strip().splitlines()[-1:] or ["no message"]
                print(f"{method:34} {classes:7} failed: {reason[0]}")
                continue
            result = json.loads(done.stdout.strip().splitlines()[-1])
            if "absent" in result:
                print(f"{method:34} {classes:7} absent: {package} is not installed here")
                continue
            print(
                f"{method:34} {classes:7} {result['seconds']:9.4f} {result['busy']:9.4f}"
                f" {result['mb']:9.0f}"
                f" {result['error']:10.1e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
