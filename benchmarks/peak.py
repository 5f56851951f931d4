"""The machine's peak: the rate of one large matrix product, GFLOP/s, through OpenVINO and through torch.

``python -m benchmarks.peak [--precision bf16]``; as a server it measures once a line of standard input.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

#: A micro-batch of tokens through the widest layer of the large shape.
_M, _K, _N = 1024, 768, 3072
_SECONDS = 1.0


def through_openvino(precision: str) -> float:
    """Return the best of as many products as a second holds, GFLOP/s; ``precision`` is ``f32`` or ``bf16``."""
    import openvino as ov
    from openvino import opset13 as ops

    left = ops.parameter([_M, _K], np.float32)
    right = ops.constant(np.random.default_rng(0).standard_normal((_K, _N), np.float32))
    model = ov.Model([ops.matmul(left, right, False, False)], [left])
    options = {"INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": 1}
    request = ov.Core().compile_model(model, "CPU", options).create_infer_request()
    given = [np.random.default_rng(1).standard_normal((_M, _K), np.float32)]
    request.infer(given, share_inputs=True, share_outputs=True)
    best, end = float("inf"), time.perf_counter() + _SECONDS
    while (began := time.perf_counter()) < end:
        request.infer(given, share_inputs=True, share_outputs=True)
        best = min(best, time.perf_counter() - began)
    return 2 * _M * _K * _N / best / 1e9


def precisions() -> list[str]:
    """Return what this processor computes in: f32, and bf16 where it has instructions for it."""
    import openvino as ov

    has_bf16 = "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ["f32", "bf16"] if has_bf16 else ["f32"]


def main() -> None:
    """Measure once, or once a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.serve:
        print(f"{options.precision}: {through_openvino(options.precision):.0f} GFLOP/s")
        return
    print(flush=True)
    for _ in sys.stdin:
        print(through_openvino(options.precision), flush=True)


if __name__ == "__main__":
    main()
