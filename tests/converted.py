"""Which chapters the rules of the book hold for."""

from kvlab.book.contents import chapters, parts

# Chapters that are not written by these rules yet; empty at the end.
OLD = {
    "live_check",
    "recordings",
}
NEW = [source.stem for source in chapters() if source.stem not in OLD]
ASKED = [path.stem for part in ("Answers", "Why") for path in parts()[part] if path.stem not in OLD]
