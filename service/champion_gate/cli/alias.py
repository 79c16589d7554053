"""`champion-gate alias`: where an alias stands, and who moved it."""

from __future__ import annotations

import click

from champion_gate.cli.output import cut, print_json, print_pairs, print_table, when


@click.group(name="alias")
def command() -> None:
    """Show where an alias stands and who moved it."""


@command.command()
@click.argument("model")
@click.argument("alias", default="Champion")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def get(model: str, alias: str, *, as_json: bool) -> None:
    """Ask the registry where the alias stands now."""
    from champion_gate.bootstrap.local import open_local_registry
    from champion_gate.core.names import check_alias, check_model
    from champion_gate.errors import NotFoundError

    registry = open_local_registry()
    name = check_model(model, three_level=registry.folds_case)
    version = registry.get_alias(name, check_alias(alias))
    if version is None:
        raise NotFoundError(f"{name} has no alias {alias} in {registry.name}.")
    answer = {"registry": registry.name, "model": name, "alias": alias, "version": version}
    if as_json:
        print_json(answer)
    else:
        print_pairs(list(answer.items()))


@command.command()
@click.argument("model")
@click.argument("alias", default="Champion")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many at the most."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def history(model: str, alias: str, limit: int, *, as_json: bool) -> None:
    """Show the ledger's lines of this alias, newest first."""
    from champion_gate.bootstrap.local import load_local_settings, open_local_store
    from champion_gate.core.aliases import AliasKey
    from champion_gate.core.names import check_alias, check_model
    from champion_gate.web.views import ledger_view

    settings = load_local_settings()
    name = check_model(model, three_level=settings.registry == "databricks-uc")
    with open_local_store() as store:
        lines = store.ledger_lines(AliasKey(settings.registry, name, check_alias(alias)), limit=limit)
    if as_json:
        print_json([ledger_view(line) for line in lines])
        return
    rows = [
        (
            str(line.number),
            when(line.entry.at),
            line.entry.kind.value,
            _move(line.entry.facts),
            line.entry.actor,
            cut(line.entry.reason, 80),
            line.entry.promotion_id or "",
        )
        for line in lines
    ]
    print_table(("LINE", "WHEN", "WHAT", "MOVE", "WHO", "WHY", "PROMOTION"), rows)


def _move(facts: object) -> str:
    if not isinstance(facts, dict) or "to" not in facts:
        return ""
    before, after = facts.get("from"), facts.get("to")
    return f"{'v' + str(before) if before else '-'} -> {'v' + str(after) if after else '-'}"
