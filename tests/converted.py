"""Which chapters the rules of the book hold for."""

from kvlab.book.contents import chapters, parts

NEW = [source.stem for source in chapters()]
ASKED = [path.stem for part in ("Answers", "Why") for path in parts()[part]]
