"""Laws of a pack, a tree that holds each row whole, and of the plan of a step: every row once, within the budget."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.errors import TrainingError
from cst.models.rendering import TokenSequence
from cst.training.packing.packs import Pack, Together, check_rows, micro_packs, pack_of


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
    """Each sequence of a pack read back from its predictors: path to the root, and the labels; by their numbers."""
    above: list[tuple[int, ...]] = []
    for node in pack.nodes:
        before = () if node.parent is None else above[node.parent]
        assert node.depth == len(before)
        above.append(before + pack.tokens[node.start : node.stop])
    at = {place: (n, place - node.start) for n, node in enumerate(pack.nodes) for place in range(node.start, node.stop)}
    found = []
    for number in sorted(set(pack.owners)):
        mine = [i for i, owner in enumerate(pack.owners) if owner == number]
        for i in mine:
            node, inside = at[pack.predictors[i]]
            seen = above[node][: pack.nodes[node].depth + inside + 1]
            assert pack.positions[pack.predictors[i]] == len(seen) - 1
            if i == mine[0]:
                prompt = seen
            assert seen == prompt + tuple(pack.labels[j] for j in mine if j < i)
        found.append(prompt + tuple(pack.labels[i] for i in mine))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_each_sequence_is_held_once_and_whole(seed: int):
    sequences = drawn(seed)
    assert held(pack_of(sequences)) == [sequence.tokens for sequence in sequences]


def test_shared_tokens_are_counted_once():
    system, users = [1, 1, 1, 1], ([2, 5], [2, 6])
    sequences = [sequence(system + user, response) for user in users for response in ([7, 7, 7], [8, 8])]
    trunk, rest_of_prompts, responses_without_their_last = 5, 2, 2 * (2 + 1)
    assert len(pack_of(sequences).tokens) == trunk + rest_of_prompts + responses_without_their_last


def test_each_system_prompt_is_found_although_all_begin_alike():
    systems = ([1, 9, 5, 5, 5, 5, 5], [1, 9, 6, 6, 6, 6, 6])
    pack = pack_of([sequence([*system, 2, user], [7]) for system in systems for user in range(10, 16)])
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
    pack = pack_of([TokenSequence((*prompt, 5), len(prompt)) for prompt in prompts])
    assert sum(map(len, prompts)) - len(pack.tokens) == saved_at_most(prompts)


def test_whole_rows_share_what_they_begin_with_and_predict_it_each():
    """Where all tokens but the first are labels, those that rows share are computed once and are labels of each."""
    sequences = [TokenSequence(found.tokens, 1) for found in drawn(4)]
    pack = pack_of(sequences)
    assert held(pack) == [sequence.tokens for sequence in sequences]
    alone = sum(len(found.tokens) - 1 for found in sequences)
    assert len(pack.labels) == alone > len(pack.tokens)


def test_the_same_numbers_give_the_same_plan():
    assert pack_of(drawn(3)) == pack_of(drawn(3))


@pytest.mark.parametrize(("tokens", "start"), [((1, 2), 0), ((1, 2), 2), ((), 0)])
def test_a_response_needs_tokens_and_one_before_them(tokens: tuple[int, ...], start: int):
    with pytest.raises(TrainingError, match=r"Sequence 1 of 2 .* needs a token, and one before it"):
        pack_of([TokenSequence((1, 2), 1), TokenSequence(tokens, start)])


SYSTEMS = ((1, 5, 5, 5), (1, 6, 6), ())


def pair(system: int, user: int, chosen: int, rejected: int) -> Together:
    """A row under one of three system prompts; its responses begin unlike."""
    prompt = (*SYSTEMS[system], 2, *[10 + user] * (1 + user))
    return (
        TokenSequence((*prompt, 3, *[30] * chosen), len(prompt)),
        TokenSequence((*prompt, 4, *[40] * rejected), len(prompt)),
    )


pairs = st.lists(
    st.builds(pair, st.integers(0, 2), st.integers(0, 5), st.integers(1, 40), st.integers(1, 40)),
    min_size=1,
    max_size=24,
)


def unique_tokens(rows: list[Together]) -> int:
    """As the packs themselves count them."""
    return len(pack_of([side for row in rows for side in row]).tokens)


@given(pairs, st.integers(10, 200), st.integers(1, 4))
def test_every_row_is_dealt_once_and_within_the_budget(rows: list[Together], budget: int, world: int):
    shares = [micro_packs(rows, token_budget=budget, rank=rank, world_size=world) for rank in range(world)]
    assert sorted(n for share in shares for numbers in share for n in numbers) == list(range(len(rows)))
    for numbers in (numbers for share in shares for numbers in share):
        assert len(numbers) == 1 or unique_tokens([rows[n] for n in numbers]) <= budget


@given(pairs, st.integers(10, 200), st.integers(1, 4))
def test_whole_rows_are_dealt_once_each(rows: list[Together], budget: int, world: int):
    """Rows of one sequence, of which all is learned."""
    whole = [(TokenSequence(chosen.tokens, 1),) for chosen, _ in rows]
    shares = [micro_packs(whole, token_budget=budget, rank=rank, world_size=world) for rank in range(world)]
    assert sorted(n for share in shares for numbers in share for n in numbers) == list(range(len(rows)))
    check_rows(whole, max(len(row.tokens) - 1 for (row,) in whole))


@given(pairs, st.integers(2, 4))
def test_processes_have_about_the_same_work(rows: list[Together], world: int):
    """No process has more than its even part and the largest row."""
    shares = [micro_packs(rows, token_budget=10**6, rank=rank, world_size=world) for rank in range(world)]
    loads = [sum(unique_tokens([rows[n] for n in numbers]) for numbers in share) for share in shares]
    largest = max(unique_tokens([row]) for row in rows)
    assert max(loads) <= 2 * (sum(loads) / world) + largest


def test_rows_under_one_system_prompt_stand_together():
    rows = [pair(n % 2, n, 5, 5) for n in range(6)]
    budget = max(unique_tokens(rows[::2]), unique_tokens(rows[1::2]))
    assert sorted(map(sorted, micro_packs(rows, token_budget=budget))) == [[0, 2, 4], [1, 3, 5]]


def test_a_budget_that_is_too_small_says_what_would_do():
    rows = [pair(0, 0, 3, 3), pair(0, 1, 20, 30)]
    need = unique_tokens(rows[1:])
    check_rows(rows, need)
    with pytest.raises(
        TrainingError, match=rf"tokens_per_pack={need - 1} is smaller than 1 of 2 rows; raise it to {need}"
    ):
        check_rows(rows, need - 1)
