# SPDX-License-Identifier: Apache-2.0
"""Line charts as SVG, for the pictures in docs: no library, one file, readable on light and dark pages.

    chart.write(path, title, note, x_axis, y_axis, series)

An axis is a dict: label, and for logarithmic ones log=True; ticks (value, text) where the default will not do.
A series is (name, [(x, y), ...]); its name stands at its last point, so that no legend has to be looked up.
"""
import math
from html import escape

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 76, 170, 56, 56
COLOURS = ["#2f6fb3", "#c4552d", "#3a8f5c", "#8a56a5", "#a88418", "#4a9a9a", "#b0446f", "#6b7280"]
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #333 }
  .title { font-size: 16px; font-weight: 600 } .note, .tick { font-size: 12px; fill: #666 }
  .grid { stroke: #ddd } .axis { stroke: #888 }
  @media (prefers-color-scheme: dark) { text { fill: #ddd } .note, .tick { fill: #aaa } .grid { stroke: #444 } }
"""


def short(value):
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:g}{unit}"
    return f"{value:g}"


def log_ticks(low, high):
    ticks = []
    power = math.floor(math.log10(low))
    while 10 ** power <= high:
        steps = (1, 2, 5) if high / low < 200 else (1,)
        ticks += [step * 10 ** power for step in steps if low <= step * 10 ** power <= high]
        power += 1
    return ticks


def linear_ticks(low, high):
    rough = (high - low) / 6 or 1
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step) * step
    return [first + i * step for i in range(int((high - first) / step) + 1)]


class Axis:
    def __init__(self, options, values, start, end):
        self.label = options.get("label", "")
        self.is_log = options.get("log", False)
        low, high = min(values), max(values)
        if self.is_log:
            low, high = options.get("low", low), options.get("high", high)
            self.scale = math.log10
        else:
            low, high = options.get("low", min(0, low)), options.get("high", high * 1.05 or 1)
            self.scale = float
        self.low, self.high = low, high if high > low else low * 2 or 1
        self.start, self.end = start, end
        ticks = log_ticks(self.low, self.high) if self.is_log else linear_ticks(self.low, self.high)
        self.ticks = options.get("ticks") or [(value, short(value)) for value in ticks]

    def at(self, value):
        value = max(min(value, self.high), self.low)
        low, high = self.scale(self.low), self.scale(self.high)
        return self.start + (self.scale(value) - low) / (high - low) * (self.end - self.start)


def spread(places, gap):
    """Move labels apart that would lie on each other; `places` is a list of [y, ...]."""
    places.sort(key=lambda place: place[0])
    for before, place in zip(places, places[1:]):
        place[0] = max(place[0], before[0] + gap)


def write(path, title, note, x_axis, y_axis, series):
    series = [(name, sorted(points)) for name, points in series if points]
    points = [point for _, some in series for point in some]
    if not points:
        raise ValueError(f"nothing to draw in {path}")
    x = Axis(x_axis, [point[0] for point in points], LEFT, WIDTH - RIGHT)
    y = Axis(y_axis, [point[1] for point in points], HEIGHT - BOTTOM, TOP)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
           f'aria-label="{escape(title)}">', f"<style>{STYLE}</style>",
           f'<text class="title" x="{LEFT}" y="22">{escape(title)}</text>',
           f'<text class="note" x="{LEFT}" y="40">{escape(note)}</text>']
    for value, text in y.ticks:
        out.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y.at(value):.1f}" y2="{y.at(value):.1f}"/>')
        out.append(f'<text class="tick" x="{LEFT - 8}" y="{y.at(value) + 4:.1f}" text-anchor="end">{escape(text)}</text>')
    for value, text in x.ticks:
        out.append(f'<text class="tick" x="{x.at(value):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{escape(text)}</text>')
    out.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}"/>')
    out.append(f'<text class="note" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 14}" text-anchor="middle">{escape(x.label)}</text>')
    out.append(f'<text class="note" transform="translate(18 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" '
               f'text-anchor="middle">{escape(y.label)}</text>')
    names = []
    for number, (name, some) in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        line = " ".join(f"{x.at(px):.1f},{y.at(py):.1f}" for px, py in some)
        out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{line}"/>')
        if len(some) <= 12:
            out += [f'<circle cx="{x.at(px):.1f}" cy="{y.at(py):.1f}" r="3.5" fill="{colour}"/>' for px, py in some]
        names.append([y.at(some[-1][1]) + 4, name, colour])
    spread(names, 16)
    for at, name, colour in names:
        out.append(f'<text x="{WIDTH - RIGHT + 10}" y="{at:.1f}" style="fill:{colour}">{escape(name)}</text>')
    out.append("</svg>")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n")
