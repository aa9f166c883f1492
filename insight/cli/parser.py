"""argparse for `insight`: one-line errors, suggestions of similar names, config overrides in any place."""

import argparse
import difflib
import itertools
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from .reporting import printable

_KEY = re.compile(r"[A-Z][A-Z0-9_]*(\.[A-Z0-9_]+)*")  # of a Detectron2 config


class Parser(argparse.ArgumentParser):
    """The parser of a command or of a group of commands.

    Args:
        options: as argparse.ArgumentParser takes them.

    Attributes:
        sources: dest of a positional argument that collects any number of words, anywhere on the command line.
        forwards: parse nothing; all words are passed on in `words`.
        continues: how to resume the command, printed after Ctrl-C; empty if it starts over.
        starts_over_with: dests of flags with which it starts over all the same.
    """

    sources: str | None = None
    forwards = False
    continues = ""
    starts_over_with: Sequence[str] = ()
    _words: Sequence[str] = ()

    def __init__(self, **options: Any):
        super().__init__(**{"formatter_class": _Formatter, **options})
        self._negative_number_matcher = re.compile(r"-\.?\d")  # also -1e-3 and -5,0,10,10 are values, not options

    @property
    def flags(self) -> dict[str, str]:
        """What the command line calls each argument: its option, or the metavar of a positional one.

        By the argument's name, and by the option's or the metavar's own in lower case with underscores.
        """
        found = {}
        for action in sorted(self._actions, key=lambda action: bool(action.option_strings)):  # an option wins
            shown = [option for option in action.option_strings if option.startswith("--")]
            if not action.option_strings and isinstance(action.metavar, str):
                shown = [action.metavar]
            for text in shown:
                found[action.dest] = found[text.removeprefix("--").lower().replace("-", "_")] = text
        return found

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse a command line.

        Options may be anywhere. Config overrides, KEY VALUE pairs, may follow any option or argument that takes several
        words; they start at the first word that has the form of a config key and is not a file.

        Args:
            words: the command line, without the program.

        Returns:
            The arguments; `parser` is the parser of the command.
        """
        args, rest = self.parse_known_args(words)
        args.parser._place(args, rest)
        return args

    def parse_known_args(self, args=None, namespace=None):
        """Parse; an unknown option is reported first, since it may be a misspelt required one."""
        self._words = args or ()
        if args is not None and not self.forwards and self._subparsers is None:
            for word in itertools.takewhile(lambda word: word != "--", args):
                option = word.partition("=")[0]
                if option.startswith("--") and not any(
                    known.startswith(option) for known in self._option_string_actions
                ):
                    self._unknown(word)
        return super().parse_known_args(args, namespace)

    def _unknown(self, word: str) -> NoReturn:
        option = word.partition("=")[0]
        self.error(f"unknown option {option}{_nearest(option, self._option_string_actions)}")

    def _place(self, args: argparse.Namespace, rest: list[str]) -> None:
        if self.forwards:
            args.words = rest
            return
        is_option = re.compile(r"-(?!\.?\d).").match
        unknown = next(filter(is_option, rest), None)
        if unknown is not None:
            self._unknown(unknown)
        overrides: list[str] = []
        for action in self._actions:
            value = getattr(args, action.dest, None)
            if action.dest in ("config_file", self.sources) and isinstance(value, list):
                words, more = _split(value)
                setattr(args, action.dest, words)
                overrides += more
            elif not action.option_strings and action.nargs == "?" and isinstance(value, str) and _is_key(value):
                setattr(args, action.dest, action.default)
                overrides.append(value)
        loose, more = _split(rest)
        if loose and self.sources is not None:
            getattr(args, self.sources).extend(loose)
            loose = []
        takes_overrides = "opts" in args
        if (loose or more or overrides) and not takes_overrides:
            self.error(f"unexpected argument: {(loose or more or overrides)[0]}")
        if takes_overrides:
            args.opts = [*overrides, *args.opts, *loose, *more]
        if self.sources is not None and not getattr(args, self.sources):
            self.error(f"expected at least one {self.sources}")

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 and one line."""
        if message.startswith("the following arguments are required") and "--config-file" in self._words:
            message += " (--config-file takes all words up to the next option)"
        self.exit(2, f"error: {printable(message)}; see {self.prog} --help\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            what = "command" if isinstance(action, argparse._SubParsersAction) else "value"
            nearest = _nearest(value, action.choices) or f"; expected one of {', '.join(map(str, action.choices))}"
            of = f" of {'/'.join(action.option_strings)}" if action.option_strings else ""
            raise argparse.ArgumentError(None, f"unknown {what} {value!r}{of}{nearest}")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Help whose options stand in a column of 32."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=32)


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(word), list(map(str, known)), 1)
    return f"; did you mean {near[0]}?" if near else ""


def _is_key(word: str) -> bool:
    return _KEY.fullmatch(word) is not None and not os.path.exists(word)


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """What stands before the first config key, and the rest."""
    first = next((i for i, word in enumerate(words) if _is_key(word)), len(words))
    return list(words[:first]), list(words[first:])
