import math
from dataclasses import replace

import pytest
import torch

from saywell.errors import InputError
from saywell.units.dictionaries.dictionary import Dictionary
from saywell.units.dictionaries.fit import measure
from saywell.units.dictionaries.rules import TopK


def dictionary(out=8, subtracts=True):
    random = torch.Generator().manual_seed(3)
    some = lambda *shape: torch.randn(shape, generator=random)  # noqa: E731
    return Dictionary(some(24, 8), some(24), some(24, out), some(out), TopK(3), subtracts)


def test_a_fit_is_the_formula_whatever_the_batches():
    made, x = dictionary(), torch.randn(90, 8, generator=torch.Generator().manual_seed(4)) + 100
    codes = made.encode(x)
    left = (made.decode(codes, x) - x).double().square().sum()
    fit = measure(made, [x])
    assert fit.explained == pytest.approx(float(1 - left / (x - x.mean(0)).double().square().sum()), rel=1e-6)
    assert fit.active == len(codes.values) / 90 and fit.tokens == 90
    assert fit.dead == 24 - len(set(codes.latents.tolist())) > 0
    again = measure(made, iter([x[:1], x[1:1], x[1:60], x[60:]]))
    assert again[1:] == fit[1:] and again.explained == pytest.approx(fit.explained, rel=1e-6)


def test_a_transcoder_is_held_against_what_comes_out():
    made = dictionary(out=5, subtracts=False)
    x = torch.randn(30, 8, generator=torch.Generator().manual_seed(4))
    out = made.decode(made.encode(x), x)
    assert measure(made, [(x, out)]).explained == pytest.approx(1)
    assert measure(made, [(x, out + 3)]).explained < 0.9
    with pytest.raises(InputError, match="30 of 5 numbers"):
        measure(made, [x])


def test_nothing_to_measure():
    assert math.isnan(measure(dictionary(), [torch.zeros(3, 8)]).explained)
    with pytest.raises(InputError, match="no vectors"):
        measure(dictionary(), [])


def test_a_dictionary_that_overflows_is_refused():
    made = replace(dictionary(), decoder=dictionary().decoder * 1e37)
    with pytest.raises(InputError, match=r"not finite: its weights are up to [0-9.]+e\+37"):
        measure(made, [torch.randn(9, 8, generator=torch.Generator().manual_seed(4)) * 1e4])
