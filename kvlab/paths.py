"""Where things lie: one answer for notebooks (which run in book/), papermill, the command line and tests."""

import os
from pathlib import Path

INSTALLATION = Path(__file__).resolve().parents[1]  # the folder of the editable install
# The repository: that folder, or KVLAB_ROOT for data and chapters kept elsewhere.
ROOT = Path(os.environ.get("KVLAB_ROOT") or INSTALLATION).expanduser().resolve()
BOOK = ROOT / "book"
DATA = ROOT / "data"
FIGURES = ROOT / "figures"
CHECKPOINTS = {  # the two recorded policies, by suite
    "libero_spatial": DATA / "checkpoints" / "mini_spatial",
    "libero_10": DATA / "checkpoints" / "mini_libero_10",
}
