#!/usr/bin/env python3
"""Writes small valid models for the target `reader` to start from.

usage: seeds.py FOLDER
"""
import pathlib
import sys

import gguf
import numpy as np

TYPES = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS"]


def write(path, names):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_custom_alignment(32)
    writer.add_bool("bool", True)
    writer.add_float64("f64", 0.5)
    writer.add_array("strings", ["a", "bc"])
    writer.add_array("numbers", [1, 2, 3])
    writer.add_array("nested", [[1, 2], [3, 4]])
    for name in names:
        qtype = gguf.GGMLQuantizationType[name]
        _, n_bytes = gguf.GGML_QUANT_SIZES[qtype]
        writer.add_tensor(f"t.{name}", np.zeros((2, n_bytes), np.uint8), raw_dtype=qtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "all.gguf", TYPES)
    write(folder / "none.gguf", [])
    for name in TYPES:
        write(folder / f"{name.lower()}.gguf", [name])


main()
