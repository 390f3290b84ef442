"""The tables of FORMAT.md that a decoder needs, taken out of the document."""
import pathlib


def numbers(cell):
    return [int(n) for n in cell.split()]


def model(row):
    """What the first three cells and the last one of a row say."""
    first, last = row[2].split(" to ")
    symbols = range(int(first), int(last) + 1)
    return {"low_bits": int(row[1]), "symbols": symbols, "frequencies": numbers(row[-1])}


class Document:
    """The tables of FORMAT.md that a decoder needs."""

    def __init__(self, path):
        self.lines = pathlib.Path(path).read_text().splitlines()
        self.scales = [model(row) for row in self.table("### Scales")]
        self.residuals = [model(row) for row in self.table("### Residuals")]
        self.offsets = [
            [[0, *numbers(cell)] for cell in row[3:6]] for row in self.table("### Scales")
        ]  # [scale][level - 1]
        self.refinements = [
            [numbers(cell) for cell in row[1:]] for row in self.table("### Refinements")
        ]
        constants = {row[0]: int(row[1]) for row in self.table("### Rotation")}
        self.sine = [constants[f"a{i}"] for i in range(5)]

    def table(self, heading):
        at = self.lines.index(heading)
        rows = []
        for line in self.lines[at + 1 :]:
            if line.startswith("#"):
                break
            if line.startswith("|"):
                rows.append([cell.strip() for cell in line.strip("|").split("|")])
        return rows[2:]
