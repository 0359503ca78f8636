"""For nbval: a progress bar in a notebook would be an output that is not in the published one."""

import os

os.environ["TQDM_DISABLE"] = "1"
