"""What a search for claims costs, how its F1 is best shrunk, and what chance makes of it: three tables.

    .venv/bin/python benchmarks/claims_search.py [--units 200] [--only time]

Units are planted: a formula of one to three atoms, of which some firing is missed and to which some is added.
Atoms are as frequent as words are, and two in five are narrower relatives of an earlier one. Time is that
of the processor on one core; the peer searches with the same beam, one formula after the other, among the
200 best atoms only.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from saywell.claims import search as searching
from saywell.claims.choose import choose, gate
from saywell.claims.search import BEAM, MOST, PRICE, Atoms, Clauses, search, shrunk_f1

TRIED = 200


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--units", type=int, default=200)
    parser.add_argument("--only", choices=("time", "shrinkage", "noise"))
    options = parser.parse_args()
    for name, table in (("time", cost), ("shrinkage", shrinkage), ("noise", noise)):
        if options.only in (None, name):
            table(options.units)
            print(flush=True)


def cost(units: int) -> None:
    """Milliseconds a unit at several sizes."""
    print("| examples | atoms | atoms an example | firing | ms a unit | peer, ms | ratio |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for examples, number in ((1000, 5000), (5000, 20_000), (10_000, 20_000)):
        random = np.random.default_rng(0)
        rows = world(random, examples, number, carried=150)
        atoms = all_equal(rows)
        for rate in (0.01, 0.05, 0.2):
            fires = [planted(random, atoms.rows, rate)[1] for _ in range(max(units // 5, 2))]
            started = time.process_time()
            for unit in fires:
                search(atoms, unit)
            mine = (time.process_time() - started) / len(fires)
            started = time.process_time()
            one_by_one(atoms, fires[0])
            peer = time.process_time() - started
            print(
                f"| {examples:,} | {number:,} | {rows.nnz / examples:.0f} | {rate:g} | {1000 * mine:.1f} |"
                f" {1000 * peer:,.0f} | {peer / mine:.0f} |",
                flush=True,
            )


def one_by_one(atoms: Atoms, fires: np.ndarray) -> list[Clauses]:
    """The same beam, each formula made and counted for itself."""
    fired, examples = int(fires.sum()), len(fires)
    hits = atoms.rows @ fires.astype(np.int64)
    best = np.argsort(-shrunk_f1(hits, atoms.held, fired, examples))[:TRIED]
    masks = {int(atom): atoms.mask(atom) for atom in best}
    beam: list[tuple[float, Clauses, list[np.ndarray]]] = [(0.0, (), [])]
    for _ in range(MOST):
        tried = []
        for _, clauses, covers in beam:
            used = {atom for clause in clauses for atom, _ in clause}
            for atom, mask in masks.items():
                if atom in used:
                    continue
                ways: list[tuple[Clauses, list[np.ndarray]]] = [
                    ((*clauses, ((atom, False),)), [*covers, mask])
                ]
                for n, clause in enumerate(clauses):
                    for negated, new in ((False, covers[n] & mask), (True, covers[n] & ~mask)):
                        longer = (*clauses[:n], (*clause, (atom, negated)), *clauses[n + 1 :])
                        ways.append((longer, [*covers[:n], new, *covers[n + 1 :]]))
                for longer, over in ways:
                    holds = np.logical_or.reduce(over)
                    hits, said = np.array([(holds & fires).sum()]), np.array([holds.sum()])
                    score = float(shrunk_f1(hits, said, fired, examples)[0]) if hits[0] else 0.0
                    tried.append((score - PRICE * sum(map(len, longer)), longer, over))
        beam = sorted(tried, key=lambda way: -way[0])[:BEAM]
    return [clauses for _, clauses, _ in beam]


def shrinkage(units: int) -> None:
    """F1 on other examples of what each form of shrinkage puts first, by size, and of what is chosen."""
    forms: dict[str, Callable] = {"none": lambda h, s, f, n: 2 * h / (s + f)}
    for z in (0.5, 1, 2):
        forms[f"{z:g} deviations fewer hits"] = lambda h, s, f, n, z=z: 2 * (h - z * np.sqrt(h)) / (s + f)
    forms["one hit fewer"] = lambda h, s, f, n: 2 * (h - 1) / (s + f)
    for k in (5, 10, 20):
        forms[f"precision drawn, {k} examples"] = lambda h, s, f, n, k=k: harmonic(
            (h + k * f / n) / (s + k), h / f
        )
        forms[f"precision and recall drawn, {k} examples"] = lambda h, s, f, n, k=k: harmonic(
            (h + k * f / n) / (s + k), (h + k * s / n) / (f + k)
        )
    results: dict[str, list[list[float]]] = {name: [] for name in forms}
    random = np.random.default_rng(1)
    fired = []
    while len(fired) < units:
        examples, rate = (
            int(random.choice([300, 700, 1500, 3000])),
            float(random.choice([0.01, 0.03, 0.1, 0.3])),
        )
        rows = world(random, 2 * examples + 4000, 1500, carried=60)
        _, fires = planted(random, rows, rate)
        if fires[:examples].sum() < 6:
            continue
        fired.append(int(fires[:examples].sum()))
        atoms = all_equal(sp.csr_matrix(rows[:, :examples]))
        select, other = np.arange(examples, 2 * examples), np.arange(2 * examples, len(fires))
        holds = rows.toarray()
        for name, form in forms.items():
            sizes = searched_with(form, atoms, fires[:examples])
            found = [one for size in sizes for one in size]
            said = np.array([covered(holds, one.clauses) for one in found])
            chosen = choose(said[:, select], fires[select], np.array([one.size for one in found]))
            first = np.cumsum([0, *map(len, sizes)])[:-1]
            by_size = [f1(fires[other], said[n, other]) for n in first]
            by_size += by_size[-1:] * (MOST - len(by_size))
            results[name].append([*by_size, f1(fires[other], said[chosen, other]), found[chosen].size])
    few = np.array(fired) < 50
    print(
        f"F1 on other examples, {units} units; in brackets the {few.sum()} of fewer than 50 firing examples\n"
    )
    print("| shrinkage | 1 atom | 2 | 3 | 4 | chosen | atoms chosen |\n|---|---:|---:|---:|---:|---:|---:|")
    for name, rows_of in results.items():
        values = np.array(rows_of)
        cells = [f"{a:.3f} ({b:.3f})" for a, b in zip(values.mean(0), values[few].mean(0), strict=True)]
        print(f"| {name} | {' | '.join(cells)} |")


def harmonic(precision, recall):
    """F1 of its two parts."""
    return 2 * precision * recall / (precision + recall)


def searched_with(form: Callable, atoms: Atoms, fires: np.ndarray) -> list:
    """A search that shrinks F1 in another way."""
    kept, searching.shrunk_f1 = searching.shrunk_f1, form
    try:
        return search(atoms, fires)
    finally:
        searching.shrunk_f1 = kept


def noise(units: int) -> None:
    """Units that fire by chance: how many get through the gate, and how many atoms are chosen."""
    print("| firing | units | let through | more than one atom |\n|---:|---:|---:|---:|")
    random = np.random.default_rng(2)
    rows = world(random, 3000, 1500, carried=60)
    holds, atoms = rows.toarray(), all_equal(sp.csr_matrix(rows[:, :1500]))
    for rate in (0.01, 0.05, 0.2):
        through = longer = 0
        for _ in range(units):
            fires = random.random(3000) < rate
            found = [one for size in search(atoms, fires[:1500]) for one in size]
            if not found:
                continue
            said = np.array([covered(holds, one.clauses) for one in found])[:, 1500:]
            chosen = choose(said, fires[1500:], np.array([one.size for one in found]))
            through += bool(gate(said[chosen], fires[1500:], tried=len(found)))
            longer += found[chosen].size > 1
        print(f"| {rate:g} | {units} | {through / units:.1%} | {longer / units:.1%} |")


def world(random: np.random.Generator, examples: int, number: int, carried: int) -> sp.csr_matrix:
    """Atoms as frequent as words, so many an example carries; some are narrower relatives of others."""
    share = 1 / (np.arange(number) + 3) ** 0.9
    share = np.minimum(share * carried / share.sum(), 0.5)
    rows: list[np.ndarray] = []
    for n in range(number):
        if n > 20 and random.random() < 0.4:
            of = rows[random.integers(n)]
            part = of[random.random(len(of)) < random.uniform(0.3, 0.95)]
            rest = np.flatnonzero(random.random(examples) < 0.2 * share[n])
            rows.append(np.union1d(part, rest))
        else:
            rows.append(np.flatnonzero(random.random(examples) < share[n]))
    bounds = np.cumsum([0, *map(len, rows)])
    held = np.ones(bounds[-1], dtype=bool)
    return sp.csr_matrix((held, np.concatenate(rows), bounds), shape=(number, examples))


def all_equal(rows: sp.csr_matrix) -> Atoms:
    """Atoms of one word each, none a variant of another."""
    everyone = np.arange(rows.shape[0])
    return Atoms(rows, np.ones(len(everyone)), everyone, everyone)


def planted(random: np.random.Generator, rows: sp.csr_matrix, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Of which examples a formula holds, about as many as `rate`, and a unit that mostly fires there."""
    able = np.flatnonzero(np.diff(rows.indptr) > 0.2 * rate * rows.shape[1])
    true = np.zeros(rows.shape[1], dtype=bool)
    while not 0.4 * rate < true.mean() < 1.2 * rate:
        a, b, c = rows[random.choice(able, 3, replace=False)].toarray()
        true = [a, a | b, a & b, a & ~b, a | b | c, (a & b) | c, (a & ~b) | c][random.integers(7)]
    missed = random.random(len(true)) < random.uniform(0, 0.6)
    added = random.random(len(true)) < rate * random.uniform(0.05, 0.6)
    return true, (true & ~missed) | added


def covered(holds: np.ndarray, clauses: Clauses) -> np.ndarray:
    """Of which examples a formula holds."""
    return np.any([np.all([holds[atom] ^ no for atom, no in clause], axis=0) for clause in clauses], axis=0)


def f1(fires: np.ndarray, said: np.ndarray) -> float:
    """As everywhere."""
    return 2 * np.count_nonzero(fires & said) / max(np.count_nonzero(fires) + np.count_nonzero(said), 1)


if __name__ == "__main__":
    main()
