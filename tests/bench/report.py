# SPDX-License-Identifier: Apache-2.0
"""The results as Markdown: the environment in a line, and a table a section."""

from table import SECTIONS

TITLES = {
    "gpu-cached": "Page-cached file to the GPU", "gpu-tmpfs": "tmpfs to the GPU",
    "gpu-sparse": "O_DIRECT on a file that needs no disk, to the GPU",
    "gpu-cold": "Cold disk to the GPU", "host-warm": "Page-cached file to host memory",
    "host-cold": "Cold disk to host memory", "shards": "Shards through the mount, page-cached",
    "shards-cold": "Shards through the mount, cold",
    "safe-open": "safe_open through the mount", "tensor-files": "Tensor files",
    "scale": "Many tensors: mount and list", "consume": "Many tensors: consume all",
    "modes": "An unchanged loader, by the mount's options",
    "models": "One rank of a whole model, true to size",
    "flat": "Whole checkpoints in a cgroup of 512 MiB",
    "remove": "Many tensors: remove"}
SIGNS = {">=": "≥", "<=": "≤"}


def number(value):
    if value is None:
        return "–"
    if value == 0:
        return "0"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def with_spread(spread, shown):
    """A figure and the ends of its series."""
    if shown is None:
        return "–"
    if not spread or spread["count"] < 2:
        return number(shown)
    return f"{number(shown)} ({number(spread['least'])}–{number(spread['most'])})"


def cell(text):
    return str(text).replace("|", "\\|").replace("\n", " ")


def reached(told):
    if told["reached"] is None:
        return "" if told["ours"] is not None and not told["bound"] else "not measured"
    return "yes" if told["reached"] else "**no**"


def bound(told):
    if not told["bound"]:
        return ""
    sign, value = told["bound"].split()
    return f"{SIGNS[sign]} {value}{' x' if told['against'] else ''}"


def line(told):
    ours = with_spread(told["ours_spread"], told["ours"])
    theirs = with_spread(told["theirs_spread"], told["theirs"]) if told["against"] else ""
    return "| " + " | ".join(cell(text) for text in (
        told["what"], told["unit"], ours, told["against"], theirs,
        number(told["ratio"]) if told["against"] else "", bound(told), reached(told),
        told["why"])) + " |"


def markdown(results, chosen):
    """results as record.py writes them; chosen: the sections that were asked for."""
    env, settings = results["environment"], results["settings"]
    lines = ["# What was measured", "",
             ", ".join(f"{name} {value}" for name, value in env.items()) + ".", "",
             f"{settings['repeat']} rounds, sides in turn. A figure is the median, of loads the "
             "best, of memory the most; in brackets the ends of the series. "
             "A ratio is ours / theirs.", ""]
    for section in SECTIONS:
        rows = [told for told in results["rows"] if told["section"] == section]
        if section not in chosen:
            continue
        lines += [f"## {TITLES[section]}", "",
                  "| what | unit | ours | against | theirs | ratio | bound | reached | note |",
                  "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
                  *map(line, rows), ""]
    lines += ["![throughput](throughput.svg)", "", "![host memory](memory.svg)", ""]
    return "\n".join(lines)
