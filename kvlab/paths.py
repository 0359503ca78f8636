"""Where things lie: one answer for notebooks (which run in book/), papermill, the command line and tests."""

import os
from pathlib import Path

# The repository: the folder of the editable install, or KVLAB_ROOT for data and chapters kept elsewhere.
ROOT = Path(os.environ.get("KVLAB_ROOT", Path(__file__).parents[1])).resolve()
BOOK = ROOT / "book"
DATA = ROOT / "data"
FIGURES = ROOT / "figures"
