"""A group of commands: its help tells each in a whole sentence."""

from __future__ import annotations

from difflib import get_close_matches

import click

_WHOLE = 1000  # characters: longer than any first sentence


class Group(click.Group):
    """As click's, whose help cuts sentences off at the end of a line, and which knows no commands that are not loaded."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one may be meant."""
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-") and not ctx.resilient_parsing:
            like = "".join(f" Did you mean {each!r}?" for each in get_close_matches(args[0], known, n=1))
            ctx.fail(f"No such command {args[0]!r}.{like}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each command with the first sentence of its help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.short_help_of(ctx, name)) for name in self.list_commands(ctx)])

    def short_help_of(self, ctx: click.Context, name: str) -> str:
        """A command's first sentence."""
        command = self.get_command(ctx, name)
        return "" if command is None else command.get_short_help_str(_WHOLE)
