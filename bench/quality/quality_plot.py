"""Draws results of the quality bench: mean KL over bits an element, a panel for each model and text."""

import math

from svg import COLOURS, GREY, WIDTH, Svg

LEFT, RIGHT, HEIGHT, TOP = 60, 190, 300, 56
MORE_COLOURS = ["#bbbbbb", "#000000", "#994455", "#997700", "#004488", "#117733"]


def quality_svg(results: list[dict]) -> str:
    """Returns the plot of the lossy rows of some results."""
    panels = {}
    for row in (row for result in results for row in result["rows"] if row["kl_mean"] > 0):
        panel = panels.setdefault((row["model"], row["text"]), {})
        pages = f", {row['page_tokens']} a page" if "page_tokens" in row else ""
        panel.setdefault(row["codec"] + pages, []).append((row["bpe"], row["kl_mean"]))
    svg = Svg(
        TOP + len(panels) * (HEIGHT + 50),
        "Quality by size",
        "mean next-token KL in nats, by bits an element of the KV, all overhead counted; left and low is better",
    )
    for index, ((model, text), series) in enumerate(panels.items()):
        _panel(svg, TOP + index * (HEIGHT + 50), f"{model}, {text}", series)
    return str(svg)


def _panel(svg: Svg, top: float, label: str, series: dict) -> None:
    points = [point for line in series.values() for point in line]
    x_max = math.ceil(max(x for x, _ in points))
    low = math.floor(min(math.log10(y) for _, y in points))
    high = max(math.ceil(max(math.log10(y) for _, y in points)), low + 1)
    floor = top + HEIGHT

    def at(x: float, y: float) -> tuple[float, float]:
        share = (math.log10(y) - low) / (high - low)
        return LEFT + x / x_max * (WIDTH - LEFT - RIGHT), floor - share * (HEIGHT - 30)

    svg.text(LEFT, top + 14, label, size=13)
    svg.line([at(0, 10**high), at(0, 10**low), at(x_max, 10**low)], GREY, 1)
    for x in range(0, x_max + 1):
        svg.text(at(x, 1)[0], floor + 18, str(x), size=11, anchor="middle", colour=GREY)
    for power in range(low, high + 1):
        svg.text(LEFT - 8, at(0, 10**power)[1] + 4, f"1e{power}", size=11, anchor="end", colour=GREY)
    colours = COLOURS + MORE_COLOURS
    for index, (name, line) in enumerate(series.items()):
        colour = colours[index % len(colours)]
        places = [at(*point) for point in sorted(line)]
        svg.line(places, colour, 1)
        for x, y in places:
            svg.box(x - 3, y - 3, 6, 6, colour)
        svg.text(WIDTH - RIGHT + 20, top + 34 + 16 * index, name, size=11, colour=colour)
