"""The multi-tensor optimizer against the textbook formulas in float64."""

import math

import numpy as np
import pytest
import torch

from curation_assets.pretraining.optimizer import ScaledAdamW, learning_rate


def naive_step(p, g, m, v, t, lr, beta1=0.9, beta2=0.999, eps=1e-6, decay=0.0):
    """Return the next (p, m, v) by nanoT5's AdamWScale."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    size = max(1e-3, math.sqrt((p**2).mean()))
    p = p - lr * size * math.sqrt(1 - beta2**t) / (1 - beta1**t) * m / (np.sqrt(v) + eps)
    return p - lr * decay * p, m, v


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_steps_equal_the_formula(decay):
    rng = np.random.default_rng(0)
    values = [
        rng.normal(size=(7, 5)),
        rng.normal(size=(3,)) * 1e-5,
        rng.normal(size=(4, 4)) * 30,
        np.zeros((2, 2)),
    ]
    parameters = [torch.nn.Parameter(torch.tensor(value)) for value in values]
    optimizer = ScaledAdamW(parameters, weight_decay=decay)
    state = [(value, np.zeros_like(value), np.zeros_like(value)) for value in values]
    for t in range(1, 8):
        lr = 0.02 / t
        gradients = [rng.normal(size=value.shape) * 10.0 ** rng.integers(-4, 3) for value in values]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = torch.tensor(gradient)
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
        state = [
            naive_step(p, g, m, v, t, lr, decay=decay) for (p, m, v), g in zip(state, gradients, strict=True)
        ]
    for parameter, (p, m, v) in zip(parameters, state, strict=True):
        mean, square = optimizer.moments(parameter)
        np.testing.assert_allclose(parameter.detach().numpy(), p, rtol=1e-12)
        np.testing.assert_allclose(mean.numpy(), m, rtol=1e-12)
        np.testing.assert_allclose(square.numpy(), v, rtol=1e-12)


def test_a_parameter_without_gradient_stays():
    one, two = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    one.grad = torch.ones(3)
    ScaledAdamW([one, two]).step()
    assert torch.equal(two.detach(), torch.ones(3))
    assert one[0].item() == pytest.approx(1 - 0.02, rel=1e-4)


def test_the_schedule_warms_up_and_falls_as_a_cosine():
    rates = [learning_rate(s, steps=100, warmup=10, peak=2.0, final=0.1) for s in range(100)]
    assert rates[:10] == pytest.approx([0.2 * (s + 1) for s in range(10)])
    assert rates[10] == 2.0
    assert rates[55] == pytest.approx((2.0 + 0.1) / 2)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.1, abs=1e-3)
    assert learning_rate(0, steps=1, warmup=0, peak=2.0, final=0.1) == 2.0
    assert learning_rate(100, steps=100, warmup=10, peak=2.0, final=0.1) == pytest.approx(0.1)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="invalid settings"):
        ScaledAdamW([torch.nn.Parameter(torch.ones(1))], betas=(0.9, 1.0))
