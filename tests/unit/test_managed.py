"""Which aliases may be changed, and what somebody is told who spells one otherwise."""

from __future__ import annotations

import pytest

from champion_gate.domain.aliases import FurtherAlias, ManagedAliases, NotManagedError

MLFLOW = "https://mlflow.example.com"


def managed(model: str = "churn", *, folds_case: bool = False) -> ManagedAliases:
    return ManagedAliases(
        [], [FurtherAlias(model=model, alias="Champion")], registry=MLFLOW, folds_case=folds_case
    )


@pytest.mark.parametrize(
    ("model", "alias"), [("CHURN", "Champion"), ("churn", "champion"), ("Churn", "CHAMPION")]
)
def test_where_case_counts_the_managed_spelling_is_named(model: str, alias: str) -> None:
    with pytest.raises(NotManagedError) as refused:
        managed().key(model, alias)
    assert "churn@Champion" in str(refused.value.hint)
    assert f"{model}@{alias}" in refused.value.message


def test_a_model_in_another_case_is_named_too() -> None:
    with pytest.raises(NotManagedError) as refused:
        managed().of_model("CHURN")
    assert "churn" in str(refused.value.hint)


@pytest.mark.parametrize(("model", "alias"), [("fraud", "Champion"), ("churn", "Challenger")])
def test_another_name_is_no_other_spelling(model: str, alias: str) -> None:
    with pytest.raises(NotManagedError) as refused:
        managed().key(model, alias)
    assert "churn@Champion" not in str(refused.value.hint)


def test_where_case_does_not_count_every_spelling_is_the_managed_one() -> None:
    key = managed("main.ml.churn", folds_case=True).key("MAIN.ml.Churn", "CHAMPION")
    assert (key.model, key.alias) == ("main.ml.churn", "Champion")
