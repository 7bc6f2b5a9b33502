#!/usr/bin/env python3
"""Writes the golden vectors of the block formats beside this file; see README.md.

usage: make_golden.py [--blocks N] [--seed N] [--out FOLDER]
"""
import argparse
import pathlib

import gguf
import numpy as np
from gguf.quants import dequantize, quantize

# Where the f16 scales of a block begin, in bytes.
SCALES_AT = {
    "F16": [0],
    "BF16": [],
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q8_0": [0],
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
}
# One, the largest, the smallest normal, the largest and smallest denormal, negative ones, both zeros.
SCALES = [0x3C00, 0x7BFF, 0x0400, 0x03FF, 0x0001, 0xBC00, 0xFBFF, 0x8001, 0x0000, 0x8000]
ENCODED = ["Q4_0", "Q8_0", "F16", "BF16"]


def random_blocks(rng, name, n_blocks):
    qtype = gguf.GGMLQuantizationType[name]
    _, n_bytes = gguf.GGML_QUANT_SIZES[qtype]
    blocks = rng.integers(0, 256, (n_blocks, n_bytes), dtype=np.uint8)
    for number, at in enumerate(SCALES_AT[name]):
        # Finite: any sign and any exponent but the highest.
        bits = rng.integers(0, 0x7C00, n_blocks).astype(np.uint16) | rng.choice([0, 0x8000], n_blocks).astype(np.uint16)
        bits[: len(SCALES)] = np.roll(SCALES, number)[:n_blocks]
        blocks[:, at : at + 2] = bits.astype("<u2").view(np.uint8).reshape(-1, 2)
    if name == "BF16":
        blocks[(blocks[:, 1] & 0x7F) == 0x7F, 1] ^= 0x40
    return blocks


def random_weights(rng, name, n_blocks):
    n_weights, _ = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    # Up to what an f16 scale can hold, down to what it cannot.
    exponents = rng.uniform(-28, 15, (n_blocks, 1))
    weights = (rng.uniform(-1, 1, (n_blocks, n_weights)) * 2.0**exponents).astype(np.float32)
    weights[0] = 0
    weights[1] = np.float32(2.0**-120)  # far below any f16 scale
    weights[2] = np.where(np.arange(n_weights) % 2, 1, -1)  # the first of equal magnitudes decides
    weights[3] = np.arange(n_weights) - 16  # ties
    return weights


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--blocks", type=int, default=14)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)

    for name in SCALES_AT:
        n_blocks = args.blocks * 8 if name in ("F16", "BF16") else args.blocks
        blocks = random_blocks(rng, name, n_blocks)
        weights = dequantize(blocks if name != "F16" else blocks.view(np.float16), gguf.GGMLQuantizationType[name])
        data = blocks.tobytes() + weights.astype("<f4").tobytes()
        (args.out / f"decode_{name.lower()}.bin").write_bytes(data)

    for name in ENCODED:
        n_blocks = args.blocks * 8 if name in ("F16", "BF16") else args.blocks
        weights = random_weights(rng, name, n_blocks)
        blocks = quantize(weights, gguf.GGMLQuantizationType[name])
        data = weights.astype("<f4").tobytes() + blocks.tobytes()
        (args.out / f"encode_{name.lower()}.bin").write_bytes(data)


main()
