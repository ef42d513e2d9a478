"""Small worlds for tests: items of a parent and of candidates, shapes, metrics."""

from __future__ import annotations

import numpy as np

from greenlight.quantize.items import Answer, Items
from greenlight.quantize.measurements import Metric
from greenlight.quantize.shapes import FUSED_GROUPS, Linear, ModelShape, Tensor

SETS = ("handbook", "wordnet")


def items(
    *, loss=0.0, kl=0.0, disagree=0.0, flips=0.0, choice_loss=0.0, windows=32, choices=1000, seed=0
):
    """Items of a model that is worse than the parent by so much; all zero is the parent itself.

    `loss` in nats per token, `kl` the mean divergence, `disagree` the share of other first tokens,
    `flips` and `choice_loss` the shares of choices answered differently and net worse.
    """
    world, own = np.random.default_rng(42), np.random.default_rng(seed + 1)
    nll, block, kls, agree = {}, {}, {}, {}
    for name in SETS:
        base = world.gamma(2.0, 1.6, windows * 128)
        moved = own.normal(loss, 0.3, base.size) if loss or kl else np.zeros(base.size)
        nll[name] = (base + moved).astype(np.float32)
        block[name] = np.repeat(np.arange(windows, dtype=np.int32), 128)
        kls[name] = own.gamma(0.8, kl / 0.8 or 1e-12, base.size).astype(np.float32)
        agree[name] = own.random(base.size) >= disagree
    gold = world.integers(0, 4, choices).astype(np.int32)
    picked = np.where(world.random(choices) < 0.75, gold, (gold + 1) % 4).astype(np.int32)
    return Items(
        nll=nll,
        block=block,
        kl=kls,
        agree=agree,
        picked={"quiz": _flipped(picked, gold, flips=flips, net=choice_loss, rng=own)},
        gold={"quiz": gold},
        answers=tuple(answer(i, correct=i % 2 == 0) for i in range(100)),
        summary={},
    )


def answer(number, *, correct=True, tokens=20, finish="stop", repeat_equal=True):
    return Answer(
        dataset="tasks",
        id=f"t{number}",
        text="…",
        tokens=tokens,
        finish=finish,
        correct=correct,
        repeat_equal=repeat_equal,
    )


def metric(name, value, *, low=None, high=None, n=1000, **kwargs):
    return Metric(name=name, value=value, unit="x", n=n, low=low, high=high, **kwargs)


def elsewhere(**changes):
    """The metrics that do not come from items, as a healthy candidate has them."""
    values = {
        "interface_differences": 0.0,
        "calibration_overlap.handbook": 0.0,
        "calibration_overlap.wordnet": 0.001,
        "file_bytes_vs_fp32": 0.26,
        "served_answer_accuracy_change": 0.0,
        "served_length_ratio": 1.0,
        "served_repeat_equal": 1.0,
        "served_tokens_per_second_ratio.1": 0.95,
        "served_tokens_per_second_ratio.8": 0.91,
    } | {name.replace("__", "."): value for name, value in changes.items()}
    spread = {"served_answer_accuracy_change": 0.04, "served_length_ratio": 0.05}
    return tuple(
        metric(
            name,
            value,
            low=value - spread[name] if name in spread else None,
            high=value + spread[name] if name in spread else None,
            n=100,
            baseline="parent fp32" if "fp32" in name else None,
        )
        for name, value in values.items()
    )


def shape(*, layers=2, hidden=64, inner=96, heads=64, kv=32, vocabulary=128, tied=True):
    """A Llama of few, small layers."""
    sizes = {
        "q_proj": (hidden, heads),
        "k_proj": (hidden, kv),
        "v_proj": (hidden, kv),
        "o_proj": (heads, hidden),
        "gate_proj": (hidden, inner),
        "up_proj": (hidden, inner),
        "down_proj": (inner, hidden),
    }
    parents = dict.fromkeys(sizes, "self_attn") | dict.fromkeys(
        ("gate_proj", "up_proj", "down_proj"), "mlp"
    )
    linears = tuple(
        Linear(
            layer=layer,
            name=name,
            module=f"model.layers.{layer}.{parents[name]}.{name}",
            group=FUSED_GROUPS[name],
            in_features=inputs,
            out_features=outputs,
        )
        for layer in range(layers)
        for name, (inputs, outputs) in sizes.items()
    )
    others = [Tensor(name="model.embed_tokens.weight", shape=(vocabulary, hidden))]
    if not tied:
        others.append(Tensor(name="lm_head.weight", shape=(vocabulary, hidden)))
    others.append(Tensor(name="model.norm.weight", shape=(hidden,)))
    return ModelShape(
        architecture="LlamaForCausalLM",
        dtype="F32",
        layers=layers,
        linears=linears,
        others=tuple(others),
        tied=tied,
        context_length=512,
    )


def _flipped(picked, gold, *, flips, net, rng):
    """Make (flips + net)/2 of the items wrong that were right, and the rest right."""
    result, n = picked.copy(), picked.size
    right, wrong = np.flatnonzero(picked == gold), np.flatnonzero(picked != gold)
    lost = rng.choice(right, round((flips + net) / 2 * n), replace=False)
    gained = rng.choice(wrong, round((flips - net) / 2 * n), replace=False)
    result[lost] = (gold[lost] + 2) % 4
    result[gained] = gold[gained]
    return result
