"""How quickly the explorer answers for a large study, and whether many readers at once get answers.

Makes a study of 50,000 units and 2,000,000 exemplars, serves it from another process, and measures (with
--latents 100000 a study of so many latents: planted words, ranges, near misses, promoted tokens, relations)

    report         writing the page, and its size
    show, neuron   the two commands from start to end, and of these the seconds of a processor
    open           opening the study (views, tables in memory) and the first page of the table
    first table    the first request to a server that has opened it
    search, filter, card, compare     medians of repeated requests with different words
    50 readers     fifty threads that each ask for ten pages; errors and the slowest answer

With --ask STUDY it serves a finished study of neurons instead, such as the demo's, and measures

    first_s        the first question, which opens a model (and reads every description)
    alone_s        the median of ten questions, one after the other
    together       fifty questions at once, beside fifty pages

Run: python benchmarks/explorer.py [--units 50000] [--latents 100000] [--exemplars 40] [--folder FOLDER]
     [--ask STUDY]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import random
import re
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import numpy as np
import polars as pl

from saywell.data.examples import EXAMPLES
from saywell.describers.descriptors.tables import DESCRIPTORS as NAMES
from saywell.describers.descriptors.tables import TAGS
from saywell.explorer.app import build_app
from saywell.explorer.connections import bounded_protocol
from saywell.explorer.filters import Filters
from saywell.explorer.security import Door
from saywell.explorer.server import listen
from saywell.explorer.shelf import open_studies
from saywell.explorer.units import find_units
from saywell.report.page import write_report
from saywell.report.tables import ASKED
from saywell.scorers.score_tables import SCORED
from saywell.store.study import Study, write_study
from saywell.studies.described import DESCRIPTIONS
from saywell.studies.features.density import DENSITY
from saywell.studies.neurons.extras import ASSOCIATIONS
from saywell.units.exemplar_ranges import NEAR_MISSES, RANGES
from saywell.units.exemplars import EXEMPLARS
from saywell.units.statistics import UNITS

TABLES = {
    table.name: table
    for table in (
        *(EXAMPLES, NAMES, TAGS, UNITS, EXEMPLARS, ASSOCIATIONS, DESCRIPTIONS, SCORED),
        *(DENSITY, RANGES, NEAR_MISSES, ASKED["promoted"], ASKED["relations"]),
    )
}
SENTENCES = 20_000
DESCRIPTORS = 2_000
LAYERS = 12
WORDS, TEXTS, LENGTH = 2_000, 4_000, 20
"""Of the study of latents: different words, texts, and words of each."""


def frame(table: str, /, **columns: object) -> pl.DataFrame:
    """A table, of which columns that are not given are null."""
    made = pl.DataFrame(columns)
    return made.select(
        (pl.col(name) if name in made.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in TABLES[table].columns.items()
    )


def make_latents(folder: Path, latents: int, exemplars: int) -> None:
    """Latents of a dictionary: every eighth fires at a word and is described by it, the rest at any."""
    draw = np.random.default_rng(0)
    words = np.array([f"word{n}" for n in range(WORDS)])
    chosen = draw.integers(0, WORDS, (TEXTS, LENGTH))
    begins = np.cumsum(np.char.str_len(words)[chosen] + 1, axis=1) - np.char.str_len(words)[chosen] - 1
    examples = np.array([f"t{n:05d}" for n in range(TEXTS)])
    own = np.arange(latents) % WORDS
    planted = np.arange(latents) % 8 == 0
    fires = np.exp(draw.uniform(np.log(1), np.log(3 * exemplars), latents)).astype(int)
    at_word = [np.argwhere(chosen == word) for word in range(WORDS)]
    count = np.minimum(np.where(planted, [len(at_word[word]) for word in own], fires), exemplars)
    ids = np.array([f"latent/{n}" for n in range(latents)])
    rank = np.concatenate([np.arange(n) for n in count])
    unit = np.repeat(np.arange(latents), count)
    cell = np.stack([draw.integers(0, TEXTS, len(unit)), draw.integers(0, LENGTH, len(unit))], 1)
    cell[planted[unit]] = np.concatenate([at_word[own[n]][: count[n]] for n in np.flatnonzero(planted)])
    start = begins[cell[:, 0], cell[:, 1]]
    end = start + np.char.str_len(words)[chosen[cell[:, 0], cell[:, 1]]]
    described = count >= 3
    value = np.where(planted, draw.beta(9, 2, latents), draw.beta(2, 9, latents))
    control, flat = draw.beta(2, 20, latents), np.ones(latents)
    holds = planted & (value * 0.8 > control)

    def shown(keep: np.ndarray, **more: object) -> dict[str, object]:
        return {
            "unit": ids[unit[keep]],
            "part": ["describe"] * int(keep.sum()),
            "rank": rank[keep],
            "example": examples[cell[keep, 0]],
            "activation": 9 - 0.1 * rank[keep],
            "span_start": start[keep],
            "span_end": end[keep],
            **{name: np.asarray(each)[keep] for name, each in more.items()},
        }

    few, step = rank < 10, rank // 2
    of_described = np.flatnonzero(described)
    texts = [" ".join(words[row]) for row in chosen]
    pairs = ids[: latents // 20], ids[np.arange(latents // 20) + 1]
    tables = {
        "examples": lambda: frame(
            "examples", id=examples, part=["describe"] * TEXTS, text=texts, row=np.arange(TEXTS)
        ),
        "units": lambda: frame(
            "units",
            id=ids,
            kind=["latent"] * latents,
            model=["synthetic at layer 2"] * latents,
            index=np.arange(latents),
            place=np.arange(latents),
            name=ids,
            mean=0.1 * flat,
            std=flat,
            minimum=0 * flat,
            maximum=9 * flat,
            threshold=1e-45 * flat,
            fires=fires / TEXTS,
            state=np.where(described, "ok", "rare"),
        ),
        "exemplars": lambda: frame("exemplars", **shown(rank >= 0)),
        "ranges": lambda: frame(
            "ranges",
            **shown(few, bin=step, low=8.8 - 0.2 * step, high=9 - 0.2 * step) | {"rank": rank[few] % 2},
        ),
        "near_misses": lambda: frame("near_misses", **shown(rank < 3, why=np.full(len(rank), "same token"))),
        "density": lambda: frame("density", unit=ids, density=fires / (TEXTS * LENGTH)),
        "promoted": lambda: frame(
            "promoted",
            unit=np.repeat(ids, 20),
            sign=np.tile(np.repeat([1, -1], 10), latents),
            rank=np.tile(np.arange(1, 11), 2 * latents),
            token=words[draw.integers(0, WORDS, 20 * latents)],
            value=np.tile(np.linspace(2, -2, 20), latents),
        ),
        "relations": lambda: frame(
            "relations",
            unit=np.concatenate(pairs),
            relation=["duplicate"] * 2 * len(pairs[0]),
            other=np.concatenate(pairs[::-1]),
            together=np.full(2 * len(pairs[0]), 40),
            **dict.fromkeys(("inside", "covers", "cosine"), np.full(2 * len(pairs[0]), 0.8)),
        ),
        "descriptions": lambda: frame(
            "descriptions",
            id=[f"{u}#0" for u in ids],
            unit=ids,
            text=[f'the word "{words[w]}"' if yes else "" for w, yes in zip(own, described, strict=True)],
            claim=[f'word("{words[w]}")' if yes else None for w, yes in zip(own, described, strict=True)],
            describer=["claims"] * latents,
            sources=[[]] * latents,
            descriptors=[[]] * latents,
            rank=0 * np.arange(latents),
            selected=[True] * latents,
            status=np.where(described, "described", "no description: it fires on too few examples"),
        ),
        "scores": lambda: frame(
            "scores",
            unit=ids[of_described],
            description=[f"latent/{n}#0" for n in of_described],
            measure=["f1"] * len(of_described),
            reader=["claims"] * len(of_described),
            part=["score"] * len(of_described),
            value=value[of_described],
            ci_low=0.9 * value[of_described],
            ci_high=1.1 * value[of_described],
            control=control[of_described],
            floor=["another unit"] * len(of_described),
            skill=(value - control)[of_described],
            skill_low=(0.9 * value - control)[of_described],
            skill_high=(1.1 * value - control)[of_described],
            q=0.01 * flat[of_described],
            n=np.full(len(of_described), 1000),
            status=np.where(holds, "verified", "not verified")[of_described],
            verifies=holds[of_described],
            decides=[True] * len(of_described),
        ),
    }
    with write_study(folder, kind="features", config={"model": "synthetic"}, inputs={}) as study:
        for name, make in tables.items():
            study.table(TABLES[name], make)


def make_study(folder: Path, units: int, exemplars: int) -> None:
    """Tables of the right size and shape with made-up words; activations fall with the rank."""
    draw = np.random.default_rng(0)
    words = np.array([f"word{n}" for n in range(5_000)])
    texts = [" ".join(words[draw.zipf(1.3, 18) % 5_000]) for _ in range(SENTENCES)]
    sentences = [f"s{n:06d}" for n in range(SENTENCES)]
    number = np.arange(units)
    sign = np.where(number < units // 2, 1, -1)
    half = number % (units // 2)
    layer, index = half % LAYERS, half // LAYERS
    order = np.lexsort((index, layer, -sign))
    layer, index, sign = layer[order], index[order], sign[order]
    ids = [f"layer.{a}/{b}" + ("" if s > 0 else "-") for a, b, s in zip(layer, index, sign, strict=True)]
    named = draw.integers(0, DESCRIPTORS, (units, 3))
    pairs = words[draw.integers(0, 5_000, (DESCRIPTORS, 2))]
    phrases = [" ".join(pair) for pair in pairs]
    value = draw.beta(2, 5, units)
    control = draw.beta(2, 9, units)
    flat = np.ones(units)

    tables = {
        "examples": lambda: frame(
            "examples", id=sentences, part=["describe"] * SENTENCES, text=texts, row=np.arange(SENTENCES)
        ),
        "descriptors": lambda: frame(
            "descriptors",
            id=[f"d{n}" for n in range(DESCRIPTORS)],
            text=phrases,
            members=[[p] for p in phrases],
            mentions=np.ones(DESCRIPTORS, dtype=np.int64),
        ),
        "tags": lambda: frame(
            "tags",
            example=[s for s in sentences for _ in range(3)],
            descriptor=[f"d{(n * 7 + k * 31) % DESCRIPTORS}" for n in range(SENTENCES) for k in range(3)],
            source=["lexical"] * 3 * SENTENCES,
            score=np.ones(3 * SENTENCES),
        ),
        "units": lambda: frame(
            "units",
            id=ids,
            kind=["ffn"] * units,
            model=["synthetic"] * units,
            layer=layer,
            index=index,
            sign=sign,
            name=[f"block.{a}[{b}]" for a, b in zip(layer, index, strict=True)],
            mean=0 * flat,
            std=flat,
            minimum=0 * flat,
            maximum=9 * flat,
            threshold=2 * flat,
            fires=0.05 * flat,
            state=["ok"] * units,
        ),
        "exemplars": lambda: frame(
            "exemplars",
            unit=np.repeat(ids, exemplars).tolist(),
            part=["describe"] * units * exemplars,
            rank=np.tile(np.arange(exemplars), units),
            example=np.array(sentences)[
                (draw.integers(0, SENTENCES, units)[:, None] + 37 * np.arange(exemplars)) % SENTENCES
            ]
            .ravel()
            .tolist(),
            activation=np.tile(9 - 0.1 * np.arange(exemplars), units),
            span_start=np.zeros(units * exemplars),
            span_end=np.full(units * exemplars, 5),
        ),
        "associations": lambda: frame(
            "associations",
            unit=np.repeat(ids, 3).tolist(),
            part=["describe"] * 3 * units,
            descriptor=[f"d{(a + 7 * k) % DESCRIPTORS}" for a in named[:, 0] for k in range(3)],
            hits=np.full(3 * units, 9),
            exemplars=np.full(3 * units, exemplars),
            composition=np.full(3 * units, 0.3),
            lift=draw.random(3 * units) * 9,
            p=np.full(3 * units, 1e-5),
            q=np.full(3 * units, 1e-3),
            composed=[False] * 3 * units,
            enriched=[True] * 3 * units,
        ),
        "descriptions": lambda: frame(
            "descriptions",
            id=[f"{u}#0" for u in ids],
            unit=ids,
            text=[", ".join(phrases[d] for d in row) for row in named],
            describer=["made up"] * units,
            llm=[None] * units,
            prompt_hash=[None] * units,
            sources=[[]] * units,
            descriptors=[[f"d{d}" for d in row] for row in named],
            rank=np.zeros(units),
            selected=[True] * units,
            status=["described"] * units,
        ),
        "scores": lambda: frame(
            "scores",
            unit=ids,
            description=[f"{u}#0" for u in ids],
            measure=["f1"] * units,
            reader=["tags"] * units,
            scorer_version=np.ones(units),
            part=["score"] * units,
            value=value,
            ci_low=value * 0.8,
            ci_high=value * 1.2,
            control=control,
            n=np.full(units, 1000),
            status=np.where(value * 0.8 > control, "verified", "not verified").tolist(),
            verifies=(value * 0.8 > control).tolist(),
            decides=[True] * units,
        ),
    }
    with write_study(folder, kind="neurons", config={"model": "synthetic"}, inputs={}) as study:
        for name, make in tables.items():
            study.table(TABLES[name], make)


def serve(folder: str, listening: socket.socket, ready: object) -> None:
    """The server's process."""
    import uvicorn

    started = time.perf_counter()
    shelf = open_studies([folder])
    ready.send(time.perf_counter() - started)  # type: ignore[attr-defined]
    app = build_app(shelf, Door("127.0.0.1", listening.getsockname()[1]))
    config = uvicorn.Config(app, http=bounded_protocol(), log_level="warning")
    uvicorn.Server(config).run(sockets=[listening])


def timed(address: str) -> float:
    """Seconds until a page has come whole."""
    started = time.perf_counter()
    with urllib.request.urlopen(address, timeout=120) as answer:
        answer.read()
    return time.perf_counter() - started


def readers(place: str, pages: list[str], count: int, each: int) -> dict[str, float]:
    """Many readers at once; what they met."""
    taken: list[float] = []
    errors: list[str] = []

    def read(seed: int) -> None:
        chooser = random.Random(seed)
        for _ in range(each):
            try:
                taken.append(timed(place + chooser.choice(pages)))
            except OSError as error:
                errors.append(str(error))

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(count)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = time.perf_counter() - started
    return {
        "requests": len(taken),
        "errors": len(errors),
        "per_second": len(taken) / whole,
        "median_s": statistics.median(taken),
        "slowest_s": max(taken),
    }


def questions(study: Path, how: str, count: int) -> dict[str, object]:
    """One question after the other, then `count` at once beside as many pages."""
    texts = pl.read_parquet(study / "examples.parquet")["text"].to_list()
    with served(study) as (place, _):
        with urllib.request.urlopen(place + "ask") as page:
            found = re.search(r'name="secret" value="([^"]+)"', page.read().decode())
        assert found is not None

        def ask(number: int) -> float:
            form = {"secret": found[1], "how": how, "sentence": texts[number % len(texts)]}
            origin = place.removesuffix("/1/")
            asked = urllib.request.Request(place + "ask", urlencode(form).encode(), {"origin": origin})
            started = time.perf_counter()
            with urllib.request.urlopen(asked, timeout=600) as answer:
                answer.read()
            return time.perf_counter() - started

        first = ask(0)
        alone = statistics.median(ask(n) for n in range(1, 11))
        took: dict[str, list[float]] = {"question": [], "page": []}
        jobs = [lambda n=n: took["question"].append(ask(n)) for n in range(count)]
        jobs += [lambda n=n: took["page"].append(timed(f"{place}?page={n % 9}")) for n in range(count)]
        threads = [threading.Thread(target=job) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {
            "first_s": round(first, 2),
            "alone_s": round(alone, 3),
            "answered": len(took["question"]),
            **{
                f"{what}_{name}_s": round(of(times), 2)
                for what, times in took.items()
                for name, of in (("median", statistics.median), ("slowest", max))
            },
        }


@contextlib.contextmanager
def served(folder: Path) -> Iterator[tuple[str, float]]:
    """A study served from another process: its address, and how long opening it took."""
    listening = listen("127.0.0.1", 0)
    context = multiprocessing.get_context("spawn")
    heard, said = context.Pipe(False)
    server = context.Process(target=serve, args=(str(folder), listening, said), daemon=True)
    server.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/1/", heard.recv()
    finally:
        server.terminate()
        server.join()


def written_and_printed(folder: Path) -> dict[str, object]:
    """The page, and two commands from their start to their end: seconds, those of a processor, megabytes."""
    unit = Study(folder).units["id"][0]
    started = time.perf_counter()
    page = write_report(Study(folder))
    figures: dict[str, object] = {
        "report_s": round(time.perf_counter() - started, 2),
        "report_mb": round(page.stat().st_size / 1e6, 2),
    }
    for command in (["show"], ["neuron", unit]):
        started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        line = [sys.executable, "-m", "saywell", command[0], str(folder), *command[1:]]
        subprocess.run(line, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        figures |= {
            f"{command[0]}_s": round(time.perf_counter() - started, 2),
            f"{command[0]}_cpu_s": round(cpu, 2),
        }
    return figures


def measure(folder: Path, count: int) -> dict[str, object]:
    """All figures of one study."""
    written = written_and_printed(folder)
    started = time.perf_counter()
    shelf = open_studies([folder])
    opened = time.perf_counter() - started
    find_units(shelf[0].tables, Filters(), {})
    in_process = time.perf_counter() - started
    shelf[0].tables.close()

    with served(folder) as (place, opening):
        first = timed(place)
        words = [f"word{n}" for n in (7, 40, 300, 1000, 1900)]
        units = Study(folder).units["id"].gather_every(97)[:10].to_list()

        def median(addresses: list[str]) -> float:
            return statistics.median(timed(place + address) for address in addresses)

        figures: dict[str, object] = {
            **written,
            "open_s": round(opened, 3),
            "open_and_rows_s": round(in_process, 3),
            "open_in_server_s": round(opening, 3),
            "first_table_s": round(first, 3),
            "search_s": round(median([f"?q={w}" for w in words * 2]), 3),
            "search_two_words_s": round(median([f"?q={w}+word1" for w in words]), 3),
            "filter_s": round(median([f"?layer={n}&verdict=verified" for n in range(10)]), 3),
            "descriptor_s": round(median([f"?descriptor={w}" for w in words]), 3),
            "last_page_s": round(median(["?page=1999", "?page=1990"]), 3),
            "card_s": round(median([f"unit?id={quote(u)}" for u in units]), 3),
        }
        pages = ["", "?page=7", *(f"?q={w}" for w in words), *(f"unit?id={quote(u)}" for u in units)]
        figures["readers"] = {k: round(v, 3) for k, v in readers(place, pages, count, 10).items()}
        return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--units", type=int, default=50_000)
    parser.add_argument("--latents", type=int, help="a study of so many latents of a dictionary instead")
    parser.add_argument("--exemplars", type=int, default=40)
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--folder", type=Path, help="keep the study here, and use it again")
    parser.add_argument("--ask", type=Path, help="a finished study of neurons: ask it instead")
    options = parser.parse_args()
    if options.ask is not None:
        asked = {how: questions(options.ask, how, options.readers) for how in ("read", "fire")}
        print(json.dumps(asked, indent=2))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary) / "study"
        if not (folder / "study.json").exists():
            make = make_study if options.latents is None else make_latents
            make(folder, options.latents or options.units, options.exemplars)
        print(json.dumps(measure(folder, options.readers), indent=2))


if __name__ == "__main__":
    main()
