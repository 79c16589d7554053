"""Who stands behind a version, and who that is at the provider (nobody approves their own model)."""

from collections.abc import Mapping

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from champion_gate.domain import policy
from champion_gate.domain.gates import Account, ApprovalTarget, Gate
from champion_gate.domain.job_runs import Trainer

GATE = Gate(
    name="churn",
    jobs=(1,),
    model="main.ml.churn",
    alias="Champion",
    approval=ApprovalTarget.stored("github", {}, ("champion",)),
)
PRINCIPAL = "0f8fad5b-d9cb-469f-a165-70867728950e"


def accounts(identities: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[Account, ...]]:
    return {name: tuple(map(Account, logins)) for name, logins in identities.items()}


def identify(identities: Mapping[str, tuple[str, ...]], *names: str | None) -> policy.TrainerIdentities:
    gate = GATE.model_copy(update={"identities": accounts(identities)})
    return policy.identify(gate, [Trainer("job run creator", name) for name in names])


def logins(found: policy.TrainerIdentities) -> list[str]:
    return [named.login for _, named in found.logins]


@pytest.mark.parametrize(
    ("name", "entry", "expected"),
    [
        ("ann@example.com", {"ann@example.com": ("ann",)}, ["ann"]),
        ("ANN@Example.com", {"ann@example.COM": ("ann",)}, ["ann"]),
        (" ann@example.com ", {"ann@example.com": ("ann", "ann-work")}, ["ann", "ann-work"]),
        (PRINCIPAL.upper(), {PRINCIPAL: ("ann", "bob")}, ["ann", "bob"]),
        ("root", {"Root": ("ann",)}, ["ann"]),
        ("a@example.com", {"a@example.com": ("ann",), "A@example.com": ("bob", "ANN")}, ["ann", "bob"]),
    ],
)
def test_a_mapped_name_is_kept_from_deciding_in_whatever_case(
    name: str, entry: dict[str, tuple[str, ...]], expected: list[str]
) -> None:
    found = identify(entry, name)
    assert logins(found) == expected
    assert found.missing == ()
    assert found.nobody == ()


def test_a_person_without_an_entry_gives_the_line_to_add() -> None:
    found = identify({}, "trainer@example.com")
    assert not found.logins
    assert not found.nobody
    (said,) = found.missing
    assert "identities: {trainer@example.com: <login at the provider>}" in said
    assert "'churn'" in said


@pytest.mark.parametrize("entry", [(), ("",), ("  ",)])
def test_nobody_can_be_said_to_stand_behind_an_email_address(entry: tuple[str, ...]) -> None:
    found = identify({"trainer@example.com": entry}, "trainer@example.com")
    assert len(found.missing) == 1
    assert found.nobody == ()


@pytest.mark.parametrize(
    ("name", "entry"), [(PRINCIPAL, {}), (PRINCIPAL, {PRINCIPAL: ()}), ("spark", {"SPARK": ()})]
)
def test_a_service_principal_or_an_empty_entry_is_nobody(
    name: str, entry: dict[str, tuple[str, ...]]
) -> None:
    found = identify(entry, name)
    assert found.nobody == (name,)
    assert not found.logins
    assert not found.missing


@pytest.mark.parametrize(
    "name", ["root", "spark", f"{PRINCIPAL}x", f"x{PRINCIPAL}", PRINCIPAL.replace("-", ""), "null"]
)
def test_any_other_name_needs_an_entry(name: str) -> None:
    found = identify({}, name)
    (said,) = found.missing
    assert name in said
    assert found.nobody == ()


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        " ",
        "\t\n",
        "ann@example.com\x00",
        "ann\n@example.com",
        f"{PRINCIPAL}\u200b",
        "\u202eann@example.com",
    ],
)
def test_an_absent_or_unreadable_trainer_is_never_ignored(name: str | None) -> None:
    found = identify({"ann@example.com": ("ann",), PRINCIPAL: (), (name or "x"): ()}, name)
    (said,) = found.missing
    assert "job run creator" in said
    assert "\n" not in said
    assert "\x00" not in said
    assert found.nobody == ()


def test_a_version_without_any_trainer_at_all_is_not_nobodys() -> None:
    assert len(identify({}).missing) == 1


def test_one_person_in_two_roles_is_asked_for_and_excluded_once() -> None:
    trainers = [Trainer("job run creator", "Ann@example.com"), Trainer("job run-as", "ann@example.com")]
    assert len(policy.identify(GATE, trainers).missing) == 1
    found = policy.identify(
        GATE.model_copy(update={"identities": accounts({"ann@example.com": ("ann",)})}), trainers
    )
    assert found.logins == ((trainers[0], Account("ann")),)


def test_two_absent_roles_are_both_named() -> None:
    found = policy.identify(GATE, [Trainer("job run creator", None), Trainer("job run-as", None)])
    assert len(found.missing) == 2


def test_where_trainers_may_approve_nobody_is_missing_or_excluded() -> None:
    gate = GATE.model_copy(
        update={"identities": accounts({"ann@example.com": ("ann",)}), "allow_trainer_approval": True}
    )
    trainers = [
        Trainer("job run-as", each) for each in ("ann@example.com", "bob@example.com", None, PRINCIPAL)
    ]
    assert policy.identify(gate, trainers) == policy.TrainerIdentities((), (), (PRINCIPAL,))


names = st.one_of(st.none(), st.text(max_size=30), st.emails(), st.uuids().map(str))


@given(
    st.lists(names, min_size=1, max_size=5),
    st.dictionaries(st.text(max_size=8), st.just(("login",)), max_size=3),
)
def test_no_trainer_is_ever_lost(trainers: list[str | None], entries: dict[str, tuple[str, ...]]) -> None:
    found = identify(entries, *trainers)
    assert found.logins or found.missing or found.nobody
    for name in trainers:
        if name and "@" in name:
            assert name.strip() not in found.nobody
            assert found.missing or found.logins


@given(
    st.one_of(st.emails(), st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=20))
)
def test_the_line_to_add_is_yaml_for_that_very_name(name: str) -> None:
    if name.strip() != name or not name.isprintable():
        return
    (said,) = identify({}, name).missing
    line = said.split("add `", 1)[1].split("` to gate", 1)[0]
    entry = yaml.safe_load(line.replace("<login at the provider>", "octo"))
    assert entry == {"identities": {name: "octo"}}
    assert logins(identify({each: (login,) for each, login in entry["identities"].items()}, name)) == ["octo"]
