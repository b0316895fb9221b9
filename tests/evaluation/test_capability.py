from itertools import product

import pytest

from cst.errors import DataError
from cst.evaluation.capability import CapabilityAnswer, capability_scores
from cst.intervals import bootstrap, wilson


def answer(model: str, i: int, value: float | None, *, set: str = "s", hash: str = "h") -> CapabilityAnswer:
    return CapabilityAnswer(
        set=set,
        model=model,
        configuration="none",
        system_prompt=None,
        chat_template=None,
        num_fewshot=2,
        metric="acc",
        item_id=f"{set}/{i}",
        item_hash=hash,
        value=value,
        target="0",
        logps=(-1.0, -2.0),
    )


def test_right_or_wrong_gives_wilson_newcombe_and_mcnemar() -> None:
    base, cst = capability_scores(
        [
            [answer("base", i, float(i < 60)) for i in range(100)],
            [answer("cst", i, float(3 <= i < 64)) for i in range(100)],
        ],
        base="base",
    )
    assert (base.mean, base.n, base.unscored, base.change) == (0.6, 100, 0, None)
    assert (cst.low, cst.high, cst.interval) == (wilson(61, 100).low, wilson(61, 100).high, "wilson")
    change = cst.change
    assert change is not None
    assert (change.against, change.only_model, change.only_against) == ("base", 4, 3)
    assert change.difference == pytest.approx(0.01)
    assert change.low < 0 < change.high
    assert change.p_value == 1.0


def test_shares_give_a_bootstrap_over_items_and_no_mcnemar() -> None:
    before = [0.2 + 0.6 * (i % 7) / 7 for i in range(50)]
    after = [value + 0.05 + 0.1 * (i % 3) for i, value in enumerate(before)]
    base, cst = capability_scores(
        [[answer(model, i, value) for i, value in enumerate(values)] for model, values in
         (("base", before), ("cst", after))],
        base="base",
    )  # fmt: skip
    assert (base.low, base.high) == (bootstrap(before).low, bootstrap(before).high)
    assert cst.interval == "bootstrap"
    assert cst.mean == pytest.approx(sum(after) / 50)
    change = cst.change
    assert change is not None
    differences = [b - a for a, b in zip(before, after, strict=True)]
    assert change.difference == pytest.approx(sum(differences) / 50)
    assert (change.low, change.high) == pytest.approx((bootstrap(differences).low, bootstrap(differences).high))
    assert 0 < change.low < change.high < cst.high - base.low, "items are paired: the spread between them is gone"
    assert (change.p_value, change.only_model) == (None, None)


def test_an_item_without_a_number_is_unscored_and_never_wrong() -> None:
    groups = [[answer("base", 0, 1.0), answer("base", 1, None)], [answer("cst", 0, 0.0), answer("cst", 1, 1.0)]]
    base, cst = capability_scores(groups, base="base")
    assert (base.mean, base.n, base.unscored) == (1.0, 1, 1)
    assert cst.change is not None
    assert (cst.change.only_model, cst.change.only_against) == (0, 1)
    (nothing,) = capability_scores([[answer("base", 0, None)]], base="base")
    assert (nothing.mean, nothing.n, nothing.low, nothing.high) == (None, 0, 0.0, 1.0)


def test_sets_are_apart_and_need_the_same_items() -> None:
    groups = [[answer(model, 0, 1.0, set=name)] for model, name in product(("base", "cst"), ("s", "t"))]
    assert [(s.model, s.set) for s in capability_scores(groups, base="base")] == [
        *product(("base", "cst"), ("s", "t")),
    ]
    other = [answer("cst", 0, 1.0, hash="other")]
    with pytest.raises(DataError, match=r"different items of set 's' \(1 and 1, 0 of them the same\)"):
        list(capability_scores([*groups, other], base="base"))
