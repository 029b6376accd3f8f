"""The least that a win rate takes: parse a file of annotations, average, print.

``bare_mean.py ANNOTATIONS``
"""

import gzip
import sys

import orjson

with open(sys.argv[1], "rb") as file:  # noqa: PTH123 (pathlib would be one import more)
    data = file.read()
if data[:2] == b"\x1f\x8b":
    data = gzip.decompress(data)
points = [row["preference"] - 1 if row["preference"] else 0.5 for row in orjson.loads(data)]
n = len(points)
mean = sum(points) / n
error = (sum((point - mean) ** 2 for point in points) / (n - 1) / n) ** 0.5
wins, draws = sum(point > 0.5 for point in points), points.count(0.5)
print(100 * mean, 100 * error, n, wins, draws, n - wins - draws)
