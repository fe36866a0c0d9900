"""Writes digits.txt, next to this script, from scikit-learn's copy of the data set.

Needs scikit-learn: python make_digits.py
"""

from pathlib import Path

from sklearn.datasets import load_digits

SHADES = "0123456789abcdefg"


def main() -> None:
    digits = load_digits()
    lines = (
        "".join(SHADES[int(pixel)] for pixel in image) + f" {label}\n"
        for image, label in zip(digits.data, digits.target)
    )
    Path(__file__).with_name("digits.txt").write_text("".join(lines), encoding="ascii")


if __name__ == "__main__":
    main()
