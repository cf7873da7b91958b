"""The ``wfengine`` command: parses, asks ``app``, prints. Each command's module is loaded when it is used."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from wfengine.errors import WfengineError, shown

#: Name of each command, where it is defined, and its line in ``wfengine --help``.
COMMANDS = {
    "run-once": ("run:run_once", "Run a job file to its end."),
    "validate": ("check:validate", "Check a job file and list every fault."),
    "explain": ("check:explain", "Say which task would run, be skipped or excluded, and by which rule."),
    "daemon": ("serve:daemon", "Look after job files and run each job when it is due."),
    "trigger": ("operate:trigger", "Ask the daemon to run a job now."),
    "pause": ("operate:pause", "Let no tick of a job count."),
    "resume": ("operate:resume", "Let the ticks of a job count again."),
    "cancel": ("operate:cancel", "Cancel a run, or one of its tasks."),
    "repair": ("repair:repair", "Run what failed or has changed in a run once more."),
    "backfill": ("backfill:backfill", "Run a job once for each step of a range of time."),
    "jobs": ("operate:jobs", "List the jobs that the daemon looks after."),
    "status": ("operate:status", "Say whether a daemon serves this home, and what it runs."),
    "health": ("health:health", "Say how well a home is served, and what needs mending."),
    "schedule": ("schedule:schedule", "See when a job, or a cron expression, would be due."),
    "simulate": ("simulate:simulate", "See what would happen from one day to another, in no time."),
    "ticks": ("ticks:ticks", "List what became of each instant at which a job was due."),
    "runs": ("look:runs", "List the newest runs."),
    "show": ("look:show", "Show one run: tasks, attempts, rows, tables, errors."),
    "logs": ("look:logs", "Print the log of a run or of one of its tasks."),
    "plugins": ("check:plugins", "List the plugins found, what they offer, and what is wrong with them."),
    "audit": ("keep:audit", "Check a home against the rules and name each break."),
    "prune": ("keep:prune", "Remove runs, logs and outputs that ended long ago."),
    "backup": ("keep:backup", "Copy the state of a home to a file."),
    "restore": ("keep:restore", "Put a backup in the place of a home's state."),
    "schema": ("check:schema", "Print the JSON Schema of the job file, for editors."),
    "doctor": ("doctor:doctor", "Check this machine, the project and its home."),
    "init": ("init:init", "Write a small project that runs."),
}


class Commands(click.Group):
    """A group that imports a command only when it is called, so that ``--help`` is fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command of ours, or look for it among the plugins' commands."""
        if cmd_name in COMMANDS:
            module, _, name = COMMANDS[cmd_name][0].partition(":")
            command: click.Command = getattr(importlib.import_module(f"wfengine.cli.{module}"), name)
            return command
        return _plugin_commands().get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command named, or say which one was probably meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f"did you mean {near[0]!r}?" if near else "see wfengine --help"
            raise click.UsageError(f"there is no command {shown(args[0])!r}; {hint}", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


def _plugin_commands() -> dict[str, click.Command]:
    from wfengine.app import Engine

    found = Engine().plugins.commands()
    return {str(command.name): command for command in found if isinstance(command, click.Command)}


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="wfengine")
def cli() -> None:
    """Run lakehouse pipelines from job files, on your own machine.

    Start with: wfengine init, or wfengine run-once FILE. Plugins can add commands: see wfengine plugins.
    """


def main(args: list[str] | None = None) -> Any:
    """Run the command line; a user's mistake ends with one message and its exit code, never with a traceback."""
    try:
        code = cli.main(args=args, prog_name="wfengine", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except WfengineError as error:
        click.echo(f"wfengine: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output went away (as head does); there is nobody left to tell.
        sys.stderr.close()
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)
