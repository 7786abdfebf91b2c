"""`trunkline`: finds its commands by the entry-point group `trunkline.commands` and runs one.

A command whose module cannot be imported (an extra that is not installed, a broken plug-in) says so when it
is called; the others go on working. Only the module of the command that is called is imported.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points

from services.kit.command import Command, CommandError

GROUP = "trunkline.commands"
INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `trunkline ARGUMENTS` (default: this process's own).

    Returns the exit status: 0, 1 after one sentence on standard error, 130 for Ctrl-C; usage errors leave by
    SystemExit(2), as argparse has it.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    # gRPC's own remarks on connections are not for the person who typed a command.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    try:
        status = run(words)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _abandon_output()
        return 1
    except Exception as error:  # noqa: BLE001 - a person gets a sentence, whatever it was
        return _complain(error, as_json="--json" in words)
    return status


def run(words: Sequence[str]) -> int:
    """Run one command and return its exit status; raises what the command raises."""
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    parser, subparsers = _parser()
    if words and words[0] in found:
        command = _load(found[words[0]])
        _add(subparsers, command)
        return command.run(parser.parse_args(words))
    for _, entry in sorted(found.items()):
        _add_to_help(subparsers, entry)
    parser.parse_args(words or ["--help"])
    return 0


def _load(entry: EntryPoint) -> Command:
    """Return the entry's command; raises what its import raises, and CommandError when it is no command."""
    command = entry.load()
    if not isinstance(command, Command):
        raise CommandError(f"`trunkline {entry.name}` is broken: {entry.value} is not a Command.")
    return command


def _parser() -> tuple[argparse.ArgumentParser, argparse._SubParsersAction[argparse.ArgumentParser]]:
    parser = argparse.ArgumentParser(
        prog="trunkline",
        description="All the models of a product behind one gRPC address.",
        epilog="TRUNKLINE_ADDRESS says where the mesh is; 127.0.0.1:8080 when it is not set.",
    )
    return parser, parser.add_subparsers(dest="command", metavar="COMMAND", required=True)


def _add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser], command: Command) -> None:
    # "resolve": a command that defines --json by itself keeps its own.
    parser = subparsers.add_parser(
        command.name, help=command.help, description=command.help, conflict_handler="resolve"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for machines")
    command.add_arguments(parser)


def _add_to_help(subparsers: argparse._SubParsersAction[argparse.ArgumentParser], entry: EntryPoint) -> None:
    try:
        _add(subparsers, _load(entry))
    except Exception:  # noqa: BLE001 - a plug-in may fail in any way, and only it fails
        subparsers.add_parser(entry.name, help="(not available here; call it to see why)")


def _complain(error: Exception, *, as_json: bool) -> int:
    """Print one sentence (or one JSON object) about `error` on standard error; return 1."""
    from gateway.commands.complaint import complaint

    said = complaint(error)
    print(said.as_json() if as_json else said.sentence, file=sys.stderr)  # noqa: T201 - this is the command line
    return 1


def _abandon_output() -> None:
    """Keep the interpreter from flushing at its end what the reader of a closed pipe will not take."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
