import random

import pytest

from cst.errors import TrainingError
from cst.models.rendering import TokenSequence
from cst.training.packs import Pack, plan_packs

BUDGETS = (1, 16, 64, 200, 4096)


def sequence(prompt: list[int], response: list[int]) -> TokenSequence:
    return TokenSequence((*prompt, *response), len(prompt))


def drawn(seed: int, configurations: int = 2, prompts: int = 5) -> list[TokenSequence]:
    """Mirrored rows, shuffled: every prompt under every system prompt, with two responses."""
    draw = random.Random(seed)

    def some(low: int, high: int) -> list[int]:
        return [draw.randrange(3, 9) for _ in range(draw.randint(low, high))]

    systems = [[1, *some(0, 40)] for _ in range(configurations)]
    asked = [([2, *some(1, 12)], some(1, 30), some(1, 90)) for _ in range(prompts)]
    found = [sequence(s + user, response) for s in systems for user, *responses in asked for response in responses]
    draw.shuffle(found)
    return found


def held(pack: Pack) -> list[tuple[int, ...]]:
    """Each row of a pack read back from its predictors: path to the root, and the labels."""
    above: list[tuple[int, ...]] = []
    for node in pack.nodes:
        before = () if node.parent is None else above[node.parent]
        assert node.depth == len(before)
        above.append(before + pack.tokens[node.start : node.stop])
    at = {place: (n, place - node.start) for n, node in enumerate(pack.nodes) for place in range(node.start, node.stop)}
    rows = []
    for row in range(len(pack.rows)):
        mine = [i for i, owner in enumerate(pack.owners) if owner == row]
        for i in mine:
            node, inside = at[pack.predictors[i]]
            seen = above[node][: pack.nodes[node].depth + inside + 1]
            assert pack.positions[pack.predictors[i]] == len(seen) - 1
            if i == mine[0]:
                prompt = seen
            assert seen == prompt + tuple(pack.labels[j] for j in mine if j < i)
        rows.append(prompt + tuple(pack.labels[i] for i in mine))
    return rows


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("seed", range(5))
def test_each_sequence_is_held_once_and_whole(seed: int, budget: int):
    sequences = drawn(seed)
    packs = plan_packs(sequences, budget)
    assert sorted(row for pack in packs for row in pack.rows) == list(range(len(sequences)))
    for pack in packs:
        assert held(pack) == [sequences[row].tokens for row in pack.rows]


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("seed", range(5))
def test_the_budget_is_kept_but_for_what_is_larger_alone(seed: int, budget: int):
    for pack in plan_packs(drawn(seed), budget):
        assert len(pack.tokens) <= budget or len(pack.rows) == 1


def test_shared_tokens_are_counted_once():
    system, users = [1, 1, 1, 1], ([2, 5], [2, 6])
    sequences = [sequence(system + user, response) for user in users for response in ([7, 7, 7], [8, 8])]
    (pack,) = plan_packs(sequences, 100)
    trunk, rest_of_prompts, responses_without_their_last = 5, 2, 2 * (2 + 1)
    assert len(pack.tokens) == trunk + rest_of_prompts + responses_without_their_last
    assert sorted(len(plan.tokens) for plan in plan_packs(sequences, 1)) == [6 + 1, 6 + 1, 6 + 2, 6 + 2]


def test_each_system_prompt_is_found_although_all_begin_alike():
    systems = ([1, 9, 5, 5, 5, 5, 5], [1, 9, 6, 6, 6, 6, 6])
    sequences = [sequence([*system, 2, user], [7]) for system in systems for user in range(10, 16)]
    (pack,) = plan_packs(sequences, 1000)
    roots = [pack.tokens[node.start : node.stop] for node in pack.nodes if node.parent is None]
    assert roots == [(*system, 2) for system in systems]


def saved_at_most(prompts: list[tuple[int, ...]]) -> int:
    """Tokens that the best split of sorted prompts into groups saves, by trying all."""
    best = [0] * (len(prompts) + 1)
    for end in range(1, len(prompts) + 1):
        for start in range(end):
            first, last = prompts[start], prompts[end - 1]
            alike = next(
                (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
            )
            best[end] = max(best[end], best[start] + (end - start - 1) * alike)
    return best[-1]


@pytest.mark.parametrize("seed", range(20))
def test_no_other_choice_of_trunks_saves_more(seed: int):
    draw = random.Random(seed)
    prompts = sorted({tuple(draw.choice((1, 2)) for _ in range(draw.randint(1, 9))) for _ in range(12)})
    packs = plan_packs([TokenSequence((*prompt, 5), len(prompt)) for prompt in prompts], 10_000)
    assert sum(len(p) for p in prompts) - sum(len(pack.tokens) for pack in packs) == saved_at_most(prompts)


@pytest.mark.parametrize("budget", BUDGETS)
def test_whole_rows_share_what_they_begin_with_and_predict_it_each(budget: int):
    """Where all tokens but the first are labels, those that rows share are computed once and are labels of each."""
    sequences = [TokenSequence(found.tokens, 1) for found in drawn(4)]
    packs = plan_packs(sequences, budget)
    for pack in packs:
        assert held(pack) == [sequences[row].tokens for row in pack.rows]
        assert len(pack.labels) == sum(len(sequences[row].tokens) - 1 for row in pack.rows)
        assert len(pack.tokens) <= budget or len(pack.rows) == 1
    alone = sum(len(found.tokens) - 1 for found in sequences)
    assert (sum(len(pack.tokens) for pack in packs) < alone) == (budget > 16)


def test_the_same_numbers_give_the_same_plan():
    assert plan_packs(drawn(3), 200) == plan_packs(drawn(3), 200)


def test_nothing_gives_no_packs():
    assert plan_packs([], 100) == []


@pytest.mark.parametrize(("tokens", "start"), [((1, 2), 0), ((1, 2), 2), ((), 0)])
def test_a_response_needs_tokens_and_one_before_them(tokens: tuple[int, ...], start: int):
    with pytest.raises(TrainingError, match=r"Sequence 1 of 2 .* needs a token, and one before it"):
        plan_packs([TokenSequence((1, 2), 1), TokenSequence(tokens, start)], 100)
