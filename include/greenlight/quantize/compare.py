"""Turn the per-item results of a parent and a candidate into metrics.

Both were measured on the same items in the same order; anything else is refused, because unpaired
numbers would be quietly wrong. Every metric has its own random stream, derived from `seed` and its
name, so that adding a data set changes no other number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from greenlight.core.errors import InputError
from greenlight.quantize.items import Answer, Items
from greenlight.quantize.measurements import Metric
from greenlight.quantize.metric_maker import MetricMaker
from greenlight.quantize.proportions import count_flips
from greenlight.quantize.statistics import CONFIDENCE, Numbers

PARENT = "parent"
KL_QUANTILES = {"kl_p99": 0.99, "kl_p999": 0.999}


def compare(
    parent: Items,
    candidate: Items,
    *,
    seed: int,
    baseline: str = PARENT,
    confidence: float = CONFIDENCE,
) -> tuple[Metric, ...]:
    """Return every quality metric of `candidate` beside `parent`.

    `baseline` names the parent in the metrics, with its dtype. `confidence` is that of every
    one-sided bound; a search that may try `k` recipes keeps its chance of accepting a bad one at
    5 % with `1 - 0.05 / k` (Bonferroni). Scores that are not finite yield `non_finite_scores.<set>`
    above zero and no metric of theirs: the gate fails on the first and finds the others missing.

    Raises:
        InputError: the two do not hold the same items, or the parent's scores are not finite.
    """
    _refuse_different_items(parent, candidate)
    make = MetricMaker(seed=seed, baseline=baseline, confidence=confidence)
    metrics: list[Metric] = []
    for name in sorted(candidate.nll):
        metrics += _text_metrics(parent, candidate, name, make=make)
    for name in sorted(candidate.picked):
        metrics += _choice_metrics(parent, candidate, name, make=make)
    for name in sorted({answer.dataset for answer in candidate.answers}):
        before = [answer for answer in parent.answers if answer.dataset == name]
        after = [answer for answer in candidate.answers if answer.dataset == name]
        metrics += _answer_metrics(before, after, name, make=make)
    return tuple(metrics)


def _text_metrics(parent: Items, candidate: Items, name: str, *, make: MetricMaker) -> list[Metric]:
    before, after, block = parent.nll[name], candidate.nll[name], candidate.block[name]
    kl, agree = candidate.kl.get(name), candidate.agree.get(name)
    if not np.isfinite(before).all():
        raise InputError(f"{name}: the parent's scores are not finite; measure the parent again")
    broken = int((~np.isfinite(after)).sum())
    broken += 0 if kl is None else int((~np.isfinite(kl)).sum())
    metrics = [make.count(f"non_finite_scores.{name}", broken, n=after.size)]
    if broken:
        return metrics
    change = after.astype(np.float64) - before.astype(np.float64)
    metrics += [
        make.exponential_mean(f"perplexity_ratio.{name}", change, block, relative=True),
        make.exponential_mean(f"perplexity.{name}", after, block),
        make.exponential_mean(f"parent_perplexity.{name}", before, block),
    ]
    if kl is not None and agree is not None:
        metrics += _divergences(kl, agree, block, name, make=make)
    return metrics


def _divergences(
    kl: Numbers, agree: Numbers, block: Numbers, name: str, *, make: MetricMaker
) -> list[Metric]:
    return [
        make.mean(f"kl_mean.{name}", kl, block, unit="nats/token"),
        *(
            make.quantile(f"{kind}.{name}", kl, block, q=q, unit="nats/token")
            for kind, q in KL_QUANTILES.items()
        ),
        make.mean(f"top1_agreement.{name}", agree, block, unit="share"),
    ]


def _choice_metrics(
    parent: Items, candidate: Items, name: str, *, make: MetricMaker
) -> list[Metric]:
    before, after, gold = parent.picked[name], candidate.picked[name], parent.gold[name]
    flips = count_flips(before == gold, after == gold)
    moved = int((before != after).sum())
    metrics = [
        make.share(f"choice_accuracy.{name}", flips.kept + flips.gained, n=flips.n),
        make.share(f"parent_choice_accuracy.{name}", flips.kept + flips.lost, n=flips.n),
        make.change(f"choice_accuracy_change.{name}", flips),
        make.share(f"choice_flips.{name}", moved, n=flips.n, relative=True),
    ]
    recovery = make.recovery(f"choice_accuracy_recovery.{name}", flips)
    return metrics if recovery is None else [*metrics, recovery]


def _answer_metrics(
    before: Sequence[Answer], after: Sequence[Answer], name: str, *, make: MetricMaker
) -> list[Metric]:
    right = count_flips(np.array([a.correct for a in before]), np.array([a.correct for a in after]))
    stopped = count_flips(
        np.array([a.finish == "stop" for a in before]),
        np.array([a.finish == "stop" for a in after]),
    )
    metrics = [
        make.share(f"answer_accuracy.{name}", right.kept + right.gained, n=right.n),
        make.share(f"parent_answer_accuracy.{name}", right.kept + right.lost, n=right.n),
        make.change(f"answer_accuracy_change.{name}", right),
        make.change(f"finish_stop_change.{name}", stopped),
    ]
    lengths = [np.array([a.tokens for a in answers], dtype=float) for answers in (before, after)]
    if lengths[0].sum() > 0:
        metrics.append(make.ratio(f"answer_length_ratio.{name}", lengths[1], lengths[0]))
    repeated = [a.repeat_equal for a in after if a.repeat_equal is not None]
    if repeated:
        metrics.append(make.share(f"repeat_equal.{name}", sum(repeated), n=len(repeated)))
    return metrics


def _refuse_different_items(parent: Items, candidate: Items) -> None:
    for kind, before, after in (
        ("block", parent.block, candidate.block),
        ("gold", parent.gold, candidate.gold),
    ):
        if before.keys() != after.keys():
            raise InputError(
                f"parent was measured on {sorted(before)}, candidate on {sorted(after)}; "
                "measure both with the same data sets"
            )
        for name in before:
            if not np.array_equal(before[name], after[name]):
                raise InputError(
                    f"{name}: {kind} differs between parent ({before[name].size} entries) and "
                    f"candidate ({after[name].size}); measure both on the same items"
                )
    ours = [(a.dataset, a.id) for a in parent.answers]
    theirs = [(a.dataset, a.id) for a in candidate.answers]
    if ours != theirs:
        raise InputError(
            f"parent answered {len(ours)} prompts and candidate {len(theirs)}, not the same ones "
            "in the same order; measure both on the same items"
        )
