# SPDX-License-Identifier: Apache-2.0
"""What was measured, and what the rows make of it. No I/O but the one file that it writes.

results.json:

    schema        1
    environment   {name: text}: hardware and versions
    settings      {name: value}: sizes and counts of this run
    values        {key: [number, …]}: every value of a series, in the order measured
    reasons       {key: text}: why a series is missing, or lacks values
    notes         {key: text}: what has to be known about a series
    memory        {scenario: {loader: [[seconds, bytes], …]}}: one run each, for the picture
    arrived       {scenario: {loader: [[seconds, bytes], …]}}: of the same runs, what had reached the
                  device, where the loader knows
    details       {key: [object, …]}: what else a loader's run told
    rows          [{id, section, what, unit, ours, against, theirs, ratio, bound, reached, why,
                  ours_spread, theirs_spread}]: spreads are {median, least, most, count}
"""

import json
import os
import re
import statistics
from typing import NamedTuple, Optional

SCHEMA = 1
# Results are for others: names of files remain, of folders none. Quoted ones may have spaces.
FOLDERS = re.compile(r"(?<=')/[^'\n]*/(?=[^'/\n]*')|(?<![\w.])/(?:[^\s/'\"]+/)+")


def without_folders(told):
    """The same with no folder in any text."""
    if isinstance(told, str):
        return FOLDERS.sub("", told)
    if isinstance(told, dict):
        return {key: without_folders(value) for key, value in told.items()}
    if isinstance(told, (list, tuple)):
        return [without_folders(value) for value in told]
    return told


class Verdict(NamedTuple):
    ours: Optional[float]
    theirs: Optional[float]
    theirs_key: Optional[str]  # whose that is
    ratio: Optional[float]
    reached: Optional[bool]  # None: no bound, or not measured
    why: str                 # of what was not measured, and notes


def spread(values):
    """The median and the ends of a series, or None of nothing."""
    if not values:
        return None
    return {"median": statistics.median(values), "least": min(values), "most": max(values),
            "count": len(values)}


def figure(values, unit, pick):
    """A series as one number; the best rate is the highest, the best time the lowest."""
    if not values:
        return None
    if pick == "median":
        return statistics.median(values)
    if pick == "most":
        return max(values)
    return max(values) if unit.endswith("/s") else min(values)


def is_within(value, bound):
    return value >= bound[1] if bound[0] == ">=" else value <= bound[1]


def judge(row, values, reasons):
    """A row's verdict."""
    ours = figure(values.get(row.ours), row.unit, row.pick)
    measured = {key: figure(values[key], row.unit, row.pick)
                for key in row.theirs if values.get(key)}
    best_of = max if row.unit.endswith("/s") else min
    best_key = best_of(measured, key=measured.get) if measured else None
    best = measured.get(best_key)
    keys = [row.ours, *row.theirs]
    why = list(dict.fromkeys(
        ("not in every round: " if values.get(key) else "") + reasons[key]
        for key in keys if key in reasons))
    ratio = ours / best if ours is not None and best else None
    value = ratio if row.theirs else ours
    reached = is_within(value, row.bound) if row.bound and value is not None else None
    return Verdict(ours, best, best_key, ratio, reached, "; ".join(why))


class Record:
    def __init__(self, out, environment, settings):
        self.out = out
        self.environment, self.settings = environment, settings
        self.values, self.reasons, self.notes, self.details = {}, {}, {}, {}
        self.memory, self.arrived = {}, {}

    def add(self, key, value):
        self.values.setdefault(key, []).append(value)

    def lack(self, key, reason):
        """The first reason stays: what follows is its consequence."""
        words = without_folders(" ".join(str(reason).split()))
        self.reasons.setdefault(key, words[:300])

    def lack_section(self, rows, section, reason):
        for row in rows:
            if row.section == section:
                for key in (row.ours, *row.theirs):
                    if not self.values.get(key):
                        self.lack(key, reason)

    def note(self, key, text):
        self.notes[key] = text

    def detail(self, key, what):
        self.details.setdefault(key, []).append(without_folders(what))

    def remember_memory(self, scenario, loader, series, arrived=()):
        """Keeps the run that took the most."""
        kept = self.memory.setdefault(scenario, {})
        if loader not in kept or max(b for _, b in series) > max(b for _, b in kept[loader]):
            kept[loader] = series
            if arrived:
                self.arrived.setdefault(scenario, {})[loader] = arrived

    def verdicts(self, rows):
        return [(row, judge(row, self.values, self.reasons)) for row in rows]

    def as_json(self, rows):
        told = []
        for row, verdict in self.verdicts(rows):
            notes = [self.notes[k] for k in (row.ours, *row.theirs) if k in self.notes]
            told.append({
                "id": row.id, "section": row.section, "what": row.what, "unit": row.unit,
                "ours": verdict.ours, "against": row.against, "theirs": verdict.theirs,
                "ratio": verdict.ratio, "bound": " ".join(map(str, row.bound or ())) or None,
                "reached": verdict.reached, "why": "; ".join([verdict.why, *notes]).strip("; "),
                "ours_spread": spread(self.values.get(row.ours)),
                "theirs_spread": spread(self.values.get(verdict.theirs_key))})
        return {"schema": SCHEMA, "environment": self.environment, "settings": self.settings,
                "values": self.values, "reasons": self.reasons, "notes": self.notes,
                "memory": self.memory, "arrived": self.arrived, "details": self.details,
                "rows": told}

    def write(self, rows):
        """Whole or not at all: a run may be ended at any moment."""
        path = os.path.join(self.out, "results.json")
        with open(path + ".new", "w", encoding="utf-8") as f:
            json.dump(self.as_json(rows), f, indent=1)
            f.write("\n")
        os.replace(path + ".new", path)
