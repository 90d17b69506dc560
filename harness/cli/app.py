"""Compose the commands and turn errors into one message and an exit code."""

from __future__ import annotations

import gc
import logging
import os
import sys
from importlib import import_module

import typer

from harness import __version__
from harness.cli.options import grouped
from harness.cli.output import note, print_json_error
from harness.errors import EXIT_INTERRUPTED, HarnessError, Interrupted

# In the order of the workflow. Each is a module with a function of that name, or with `commands`.
COMMANDS = (
    "boards", "bench", "farm", "sample", "predict", "build", "flash", "measure", "run", "nightly",
    "runs", "gate", "baseline", "fit", "search", "results", "compare", "report", "export",
    "explain", "virtual", "cache", "doctor",
)  # fmt: skip
_LOG_LINES = 20

app = typer.Typer(
    name="harness",
    help="Measure neural networks where they will run: on Cortex-M microcontrollers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"tinyml-harness {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    verbose: int = typer.Option(
        0, "--verbose", "-v", count=True, help="Log more (-vv: everything)."
    ),
    _version_asked: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(
        level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )


for _name in COMMANDS:
    _module = import_module(f"harness.cli.{_name}")
    if hasattr(_module, "commands"):
        app.add_typer(_module.commands, name=_name)
    else:
        app.command(_name)(grouped(getattr(_module, _name)))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exit 0 done, 1 failed, 2 wrong use, 3 bench not ready, 130 stopped."""
    # Objects that last make most collections useless: a package's while it loads, a store's rows.
    gc.set_threshold(100_000, 50, 100)
    as_json = "--json" in (sys.argv[1:] if arguments is None else arguments)
    try:
        # Without click's own handling, an exit code that a command asks for is returned.
        code = app(args=arguments, prog_name="harness", standalone_mode=False)
        if code == EXIT_INTERRUPTED:
            raise KeyboardInterrupt  # typer has made that of one
    except (KeyboardInterrupt, typer.Abort):
        stopped = Interrupted(
            "stopped", fix="run the same command to continue: what is done is kept"
        )
        code = _tell(stopped, as_json=as_json)
    except HarnessError as failure:
        code = _tell(failure, as_json=as_json)
    except BrokenPipeError:
        # The reader of our output has gone (`harness results | head`): nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as failure:
        # A usage error of click, whose class is typer's own in some releases, shows itself.
        if not hasattr(failure, "show") or not hasattr(failure, "exit_code"):
            raise
        failure.show()
        if as_json:
            print_json_error("usage", getattr(failure, "format_message", failure.__str__)())
        code = failure.exit_code
    sys.exit(code or 0)


def _tell(failure: HarnessError, *, as_json: bool) -> int:
    """Print a failure to stderr, and where data would be on stdout; return its exit code."""
    note(f"error[{failure.code}]: {failure}")
    if log := str(failure.data.get("raw_log") or "").splitlines()[-_LOG_LINES:]:
        note("\n  ".join(["end of the raw log:", *log]))
    if as_json:
        print_json_error(failure.code, failure.what, failure)
    return failure.exit_code
