#!/usr/bin/env python3
"""The weighted average of trained models of one shape, which writes better text than each of them alone."""
import argparse
import pathlib

import tensors


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=pathlib.Path, help="the file to write")
    parser.add_argument("--model", nargs=2, action="append", required=True, metavar=("FILE", "SHARE"),
                        help="a safetensors file and its share; give it for each model, the shares sum to 1")
    arg = parser.parse_args()
    shares = [float(share) for _, share in arg.model]
    if abs(sum(shares) - 1) > 1e-6:
        parser.error(f"the shares sum to {sum(shares):g}, not to 1")
    models = [tensors.read(pathlib.Path(path)) for path, _ in arg.model]
    tensors.write(arg.out, {name: sum(share * model[name] for share, model in zip(shares, models))
                            for name in models[0]})


if __name__ == "__main__":
    main()
