"""A second reader of progressive pages, written from codec/FORMAT.md alone: it takes its tables out of the
document and shares nothing with the library. It shows that the document says enough.

  python3 tests/codec/format_decoder FORMAT.md PROFILE PAGE PAIRING TENSORS [SOURCE]

exits 1 if the lossy rows of PAGE do not decode to TENSORS, or all of its rows to SOURCE.
"""
import pathlib
import sys

from decoder import Decoder
from document import Document
from pages import Page
from profiles import Profile


def main():
    if len(sys.argv) not in (6, 7):
        sys.exit(__doc__)
    document, profile, page, pairing, *expected = sys.argv[1:]
    number = {"neox": 1, "interleaved": 2}[pairing]
    parsed = Profile(pathlib.Path(profile).read_bytes(), number)
    decoder = Decoder(Document(document), parsed, Page(pathlib.Path(page).read_bytes()), number)
    for rows, path in zip((len(decoder.lossy), len(decoder.page.rows)), expected):
        got, wanted = decoder.decode(rows), pathlib.Path(path).read_bytes()
        if got != wanted:
            at = next((i for i, (g, w) in enumerate(zip(got, wanted)) if g != w), min(len(got), len(wanted)))
            sys.exit(f"{page}: byte {at} of {len(got)} differs from {path}, of {len(wanted)} bytes")


if __name__ == "__main__":
    main()
