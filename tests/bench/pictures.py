# SPDX-License-Identifier: Apache-2.0
"""The two pictures, as SVG, from results.json alone: bars of throughput, host memory over time.

Plain text elements and a style sheet that follows the reader's light or dark colours; no drawing
library. Bars have a scale of their own in each group, since a disk and a GPU's link are a hundred
times apart; each bar says its number.
"""

import statistics
from xml.sax.saxutils import escape

from table import LOADERS, ROWS, SCENARIOS

WIDTH, LEFT, RIGHT = 860, 250, 80
BAR, GAP = 18, 5
PANEL_HEIGHT, PANEL_GAP = 230, 70
COLOURS = {"wload": "#e4572e", "instanttensor": "#4c78a8", "fastsafetensors": "#54a24b",
           "runai": "#b279a2", "safetensors": "#c9971c", "": "#8a8f98"}
LIMITS = {"pinned": "pinned copies: the link", "disk": "fio, O_DIRECT: the disk",
          "pread": "threaded pread, fresh memory", "pread-huge": "the same, huge pages"}
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-size: 17px; font-weight: 600; } .group { font-weight: 600; }
.small { font-size: 11px; fill: #59636e; } .bg { fill: #ffffff; }
.axis { stroke: #8a8f98; stroke-width: 1; fill: none; }
.grid { stroke: #8a8f98; stroke-opacity: 0.25; }
.size { stroke: #8a8f98; stroke-dasharray: 6 4; stroke-width: 1.5; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.there { stroke-width: 1; stroke-dasharray: 6 3; }
.onto { paint-order: stroke; stroke: #ffffff; stroke-width: 4px; stroke-linejoin: round; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .small { fill: #9198a1; } .bg { fill: #0d1117; }
  .onto { stroke: #0d1117; }
}
"""


def colour(name):
    return COLOURS.get(name.split("-")[0], COLOURS[""])


def is_variant(name):
    return "-" in name


def text(x, y, words, anchor="start", kind=""):
    css = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{css}>{escape(words)}</text>'


def document(height, title, parts):
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'width="{WIDTH}" height="{height:.0f}" role="img">',
        f"<title>{escape(title)}</title>", f"<style>{STYLE}</style>",
        f'<rect class="bg" width="{WIDTH}" height="{height:.0f}"/>',
        text(16, 28, title, kind="title"), *parts, "</svg>", ""])


def sentence(words):
    return words if words.startswith("tmpfs") else words[0].upper() + words[1:]


def about(environment):
    parts = [environment.get(key, "") for key in ("cpu", "gpu", "kernel", "date")]
    return " · ".join(p for p in parts if p and p != "none")


def title_of(words, environment):
    """With what has to be known of the run, where there is something."""
    return f"{words} ({environment['run']})" if environment.get("run") else words


# ---- bars ---------------------------------------------------------------------------------------


def best(values, key):
    return max(values[key]) if values.get(key) else None


def median(values, key):
    return statistics.median(values[key]) if values.get(key) else None


def load_groups(values):
    for scenario, (title, names) in SCENARIOS.items():
        bars = [(LOADERS[name].title, name, best(values, f"{scenario}/{name}"))
                for name in names]
        bars += [(words, "", best(values, f"{scenario}/{name}"))
                 for name, words in LIMITS.items()]
        bars = [bar for bar in bars if bar[2] is not None]
        if any(name == "wload" for _, name, _ in bars):
            yield sentence(title), bars


def mount_groups(values):
    for row in ROWS:
        if row.ours.endswith("/mount") and row.unit == "GB/s":
            ours, theirs = median(values, row.ours), median(values, row.theirs[0])
            if ours is not None and theirs is not None:
                yield (sentence(row.what),
                       [("through the mount", "wload", ours), ("bare file", "", theirs)])


def bar_group(y, title, bars):
    parts = [text(16, y, title, kind="group")]
    most = max(value for _, _, value in bars) or 1
    for label, name, value in bars:
        y += BAR + GAP
        width = max(1.0, (WIDTH - LEFT - RIGHT) * value / most)
        opacity = ' fill-opacity="0.55"' if is_variant(name) else ""
        parts += [text(LEFT - 8, y, label, "end"),
                  f'<rect x="{LEFT}" y="{y - BAR + 5:.1f}" width="{width:.1f}" '
                  f'height="{BAR}" rx="2" fill="{colour(name)}"{opacity}/>',
                  text(LEFT + width + 6, y, f"{value:.3g} GB/s", kind="small")]
    return y + 34, parts


def throughput(results):
    parts, y = [text(16, 48, about(results["environment"]), kind="small"),
                text(16, 64, "GB/s, more is better; each group has a scale of its own",
                     kind="small")], 96
    for title, bars in [*load_groups(results["values"]), *mount_groups(results["values"])]:
        y, more = bar_group(y, title, bars)
        parts += more
    return document(y, title_of("Throughput", results["environment"]), parts)


# ---- host memory over time ----------------------------------------------------------------------


def size_text(size):
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size:.0f} B"


def steps(most):
    """Round marks of an axis from 0 to at least `most`."""
    for scale in (10.0 ** n for n in range(-4, 15)):
        for unit in (1, 2, 5):
            if most / (unit * scale) <= 5:
                step = unit * scale
                return [step * i for i in range(int(most / step) + 2)]
    return [0.0, most]


def marks(y, x_most, y_most):
    """The axes of a panel: seconds below, GiB at the left."""
    parts, left, right, bottom = [], 80, WIDTH - RIGHT, y + PANEL_HEIGHT
    for value in steps(x_most):
        if value <= x_most:
            x = left + (right - left) * value / x_most
            parts.append(text(x, bottom + 16, f"{value:g} s", "middle", "small"))
    for value in steps(y_most / 2**30):
        if value * 2**30 <= y_most:
            at = bottom - PANEL_HEIGHT * value * 2**30 / y_most
            parts += [f'<path class="grid" d="M{left} {at:.1f}H{right}"/>',
                      text(left - 6, at + 4, f"{value:g} GiB", "end", "small")]
    parts.append(f'<path class="axis" d="M{left} {y}V{bottom}H{right}"/>')
    return parts


def curve(series, y, x_most, y_most, name):
    left, right, bottom = 80, WIDTH - RIGHT, y + PANEL_HEIGHT
    points = " ".join(f"{left + (right - left) * s / x_most:.1f},"
                      f"{bottom - PANEL_HEIGHT * b / y_most:.1f}" for s, b in series)
    dashes = ' stroke-dasharray="2 3"' if is_variant(name) else ""
    return f'<polyline class="line" stroke="{colour(name)}"{dashes} points="{points}"/>'


def arrival(series, y, x_most, y_most, name):
    """What had reached the device: a line of its own kind, in the loader's colour."""
    return curve(series, y, x_most, y_most, name).replace('class="line"', 'class="line there"')


def legend(y, curves, there):
    entries = [(f"{LOADERS[name].title}: {size_text(max(b for _, b in series))} at most, "
                f"{series[-1][0]:.2f} s", name, "line") for name, series in curves]
    entries += [(f"{LOADERS[name].title}: bytes on the device", name, "line there")
                for name, _ in there]
    parts = []
    for i, (words, name, kind) in enumerate(entries):
        x, at = 80 + i % 2 * 370, y + i // 2 * 18
        dashes = ' stroke-dasharray="2 3"' if is_variant(name) else ""
        parts += [f'<path class="{kind}" stroke="{colour(name)}"{dashes} d="M{x} {at - 4}h24"/>',
                  text(x + 30, at, words, kind="small")]
    return y + (len(entries) + 1) // 2 * 18, parts


def panel(y, title, curves, there, size):
    x_most = max(series[-1][0] for _, series in [*curves, *there]) or 1
    y_most = 1.08 * max([size, *(b for _, series in [*curves, *there] for _, b in series), 1])
    at = y + 16 + PANEL_HEIGHT - PANEL_HEIGHT * size / y_most
    parts = [text(16, y, title, kind="group"), *marks(y + 16, x_most, y_most),
             f'<path class="size" d="M80 {at:.1f}H{WIDTH - RIGHT}"/>']
    parts += [curve(series, y + 16, x_most, y_most, name) for name, series in curves]
    parts += [arrival(series, y + 16, x_most, y_most, name) for name, series in there]
    parts.append(text(WIDTH - RIGHT, at - 5, f"the checkpoint, {size_text(size)}", "end",
                      "small onto"))
    y, more = legend(y + 16 + PANEL_HEIGHT + 40, curves, there)
    return y + PANEL_GAP - 30, parts + more


def memory(results):
    parts, y = [text(16, 48, about(results["environment"]), kind="small"),
                text(16, 64, "each loader's memory and the page cache that it added, beyond the "
                             "process that was ready to load; its largest run", kind="small")], 96
    for scenario, (title, names) in SCENARIOS.items():
        kept = results["memory"].get(scenario, {})
        curves = [(name, kept[name]) for name in names if kept.get(name)]
        known = results.get("arrived", {}).get(scenario, {})
        there = [(name, known[name]) for name in names if known.get(name)]
        size = results["settings"]["bytes"].get(scenario, 0)
        if curves:
            y, more = panel(y, sentence(title), curves, there, size)
            parts += more
    return document(y, title_of("Host memory over time", results["environment"]), parts)
