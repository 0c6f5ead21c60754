"""The command line: finds the commands in `pipeline/commands/`, turns errors into one line and an exit code."""

from __future__ import annotations

import errno
import importlib
import io
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from keyword import iskeyword
from pathlib import Path
from typing import Any

import click

import pipeline.commands
from pipeline.errors import ConfigurationError, PipelineError, Problem, Severity, UsageError, nearest
from pipeline.hangup import hangup
from pipeline.lines import flush

__all__ = ["cli", "graph_file", "main", "shipped_file", "shipped_graphs"]

_GRAPH_SUFFIXES = {".yaml", ".yml"}
_NO_ROOM = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


class _Commands(click.Group):
    """Imports a command's module only when it is called; a graph file in a command's place means `run`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(module.name.rstrip("_") for module in pkgutil.iter_modules(pipeline.commands.__path__))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        # The module of a command that Python keeps for itself has an underscore behind its name: import_.py.
        module = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command: click.Command = importlib.import_module(f"pipeline.commands.{module}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name == "run":
            hangup.hold()
        if name in self.list_commands(ctx) or name.startswith("-"):
            return super().resolve_command(ctx, args)
        if Path(name).suffix in _GRAPH_SUFFIXES or _may_be(Path(name).exists) or name in shipped_graphs():
            hangup.hold()
            return "run", self.get_command(ctx, "run"), args
        near = nearest(name, [*self.list_commands(ctx), *shipped_graphs()])
        raise click.UsageError(f"no command or graph file '{name}'" + (f"; did you mean '{near}'?" if near else ""))


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="FILE is a graph file, or the name of a shipped one. "
    'Shell completion: eval "$(_PIPELINE_COMPLETE=bash_source pipeline)" (zsh_source, fish_source).',
)
@click.version_option(package_name="retrofit-pipeline", prog_name="pipeline")
def cli() -> None:
    """From the data blocks of S7 machines to acknowledged frames, as a graph file declares it.

    \b
    Examples:
      python -m pipeline configs/demo.yaml          run a graph (the same as: run FILE)
      python -m pipeline check configs/line1.yaml   validate offline and predict load
      python -m pipeline operators mqtt             what an operator does, its options
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped


def _may_be(look: Callable[[], bool]) -> bool:
    """Whether a file is there, or can't be looked at: then whoever opens it says why."""
    try:
        return look()
    except OSError:
        return True


def shipped_file(name: str) -> Path:
    """A file that comes beside the graphs of the project, in a checkout and after an install."""
    package = Path(__file__).parent
    return next((f for f in (package / "configs", package.parent / "configs") if f.is_dir()), package) / name


def shipped_graphs() -> dict[str, Path]:
    """The graph files that come with the project, by name, in a checkout and after an install."""
    return {path.stem: path for path in sorted(shipped_file("").glob("*.yaml")) if not path.name.endswith(".test.yaml")}


def graph_file(text: str) -> Path:
    """The graph file a user means: a path, or the name of a shipped graph (`demo`, `configs/demo.yaml`).

    Raises:
        UsageError: there is no such file; names the nearest shipped one.
    """
    path = Path(text)
    if _may_be(path.is_file):
        return path
    shipped = shipped_graphs()
    if path.stem in shipped and path.parent in {Path(), Path("configs")}:
        return shipped[path.stem]
    near = nearest(path.stem, shipped)
    hint = f"did you mean '{near}'?" if near else f"shipped ones are: {', '.join(shipped)}"
    raise UsageError(f"there is no graph file '{text}'; {hint}")


def _counted(problems: Sequence[Problem]) -> str:
    """`2 problems`, and `1 warning` apart: those alone would have refused nothing."""
    warnings = sum(problem.severity is Severity.WARNING for problem in problems)
    counts = {"problem": len(problems) - warnings, "warning": warnings}
    return ", ".join(f"{count} {what}{'' if count == 1 else 's'}" for what, count in counts.items() if count)


def _drop_output() -> None:
    """What is left for standard output goes nowhere: else the interpreter would fail by it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _explained(error: OSError) -> str:
    """What a file, or the output, has against us; a failure of neither goes on as it is."""
    if error.filename is not None:
        return f"'{error.filename}': {error.strerror}"
    if error.errno not in _NO_ROOM:
        raise error
    _drop_output()
    return f"the output can't be written: {error.strerror}; make room, or write it elsewhere"


def main(arguments: list[str] | None = None) -> Any:
    """The entry point of the command `pipeline`. Exits 0 done, 1 wrong graph or option, 2 a part failed for good."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # as stderr: what its encoding lacks is an escape, not an error
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            code = cli.main(args=arguments, prog_name="pipeline", standalone_mode=False)
            if sys.stdout is not None:
                sys.stdout.flush()  # what fails is told, not left to the interpreter's end
        finally:
            flush()
    except click.ClickException as error:
        error.show()
        sys.exit(1)
    except click.exceptions.Abort:
        sys.exit(1)
    except ConfigurationError as error:
        click.echo(str(error), err=True)
        click.echo(f"{_counted(error.problems)}, nothing was started", err=True)
        sys.exit(error.exit_code)
    except PipelineError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); that is no failure.
        _drop_output()
        sys.exit(0)
    except OSError as error:
        click.echo(f"error: {_explained(error)}", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
