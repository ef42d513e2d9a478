"""The peer of `benchmarks/quantize.py`: what a person would write without Greenlight.

`.venv-ml/bin/python benchmarks/bare_gptqmodel.py SPEC.json`: loads a folder, quantizes it with
gptqmodel on the given texts, saves it. No checks, no digests, no losses kept.
"""

import json
import os
import sys

os.environ.setdefault("GPTQMODEL_CPU_WORKERS", str(max(2, os.cpu_count() or 2)))

from gptqmodel import GPTQModel, QuantizeConfig


def main(path: str) -> None:
    with open(path) as file:
        spec = json.load(file)
    config = QuantizeConfig(
        bits=spec["bits"], group_size=spec["group_size"], sym=True, desc_act=False, device="cpu"
    )
    model = GPTQModel.load(spec["model"], config)
    calibration = [{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in spec["samples"]]
    model.quantize(calibration, batch_size=1)
    model.save(spec["output"])


if __name__ == "__main__":
    main(sys.argv[1])
