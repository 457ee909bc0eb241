#!/usr/bin/env python3
"""Reads the peers' harness's JSON lines and prints a table: medians, our ratio to the best of the others, target and verdict."""
import json
import sys

kind = sys.argv[1]
results = {}
for line in sys.stdin:
    if line.startswith("{"):
        result = json.loads(line)
        results[result["system"]] = result
ours = results.pop("own", None)
if ours is None:
    sys.exit("no result of our own")


def median(result, figure):
    value = result.get(figure)
    return value.get("median") if isinstance(value, dict) else None


FIGURES = [  # name, what it is, greater is better
    ("enqueue", "enqueue/s, 1 caller", True),
    ("enqueue_conc", "enqueue/s, 16 callers", True),
    ("bulk", "bulk rows/s, 100 a call", True),
    ("drain", "drain jobs/s", True),
    ("live", "live jobs/s", True),
    ("p50", "enqueue to start p50 ms", False),
    ("p99", "enqueue to start p99 ms", False),
    ("foreign_cores", "cores used by others", None),
]
# figure -> list of (peer or None for the best, least ratio)
TARGETS = {
    "pg": {"drain": [(None, 1.0)], "live": [(None, 2.0), ("nats-js-sync", 1.0)], "p50": [(None, 1.0)], "p99": [(None, 1.0)]},
    "none": {"live": [("apalis-sqlite", 4.0)]},
}[kind]
ON_POSTGRES = [name for name in results if not name.startswith(("nats", "celery", "bullmq", "temporal"))]

names = list(results)
print(f"{'':<26}{'ours':>12}" + "".join(f"{name[:22]:>24}" for name in names))
for figure, what, _ in FIGURES:
    cells = [median(result, figure) for result in [ours, *results.values()]]
    shown = ["-" if cell is None else f"{cell:,.2f}" for cell in cells]
    print(f"{what:<26}{shown[0]:>12}" + "".join(f"{cell:>24}" for cell in shown[1:]))
print()
for figure, what, greater in FIGURES:
    for peer, wanted in TARGETS.get(figure, []):
        against = [peer] if peer else ON_POSTGRES
        values = [(median(results[name], figure), name) for name in against if name in results]
        values = [value for value in values if value[0] is not None]
        mine = median(ours, figure)
        if not values or mine is None:
            continue
        best, name = max(values) if greater else min(values)
        ratio = mine / best if greater else best / mine
        verdict = "met" if ratio >= wanted else "NOT met"
        print(f"{what}: {ratio:.2f} x {name}; target {wanted:g} x: {verdict}")
