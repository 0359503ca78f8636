"""The command line: a thin skin over the library. Heavy imports stay inside the commands so that `--help` is instant."""

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.callback()
def main() -> None:
    """kvlab: Pi0 with a reusable KV cache, on LIBERO, with evidence."""
