import random

from cst.models.prompt_heads import WORTH, shared_heads


def test_each_prompt_begins_with_its_head_and_has_more() -> None:
    draw = random.Random(0)
    depths: set[int] = set()
    for _ in range(200):
        openings = [[draw.randrange(3) for _ in range(draw.randint(0, 9))] for _ in range(3)]
        prompts = [
            [*draw.choice(openings), *(draw.randrange(3) for _ in range(draw.randint(1, 6)))]
            for _ in range(draw.randint(1, 9))
        ]
        shared = shared_heads(prompts)
        assert {len(head) for head in shared.heads} == {shared.depth}
        assert len(set(shared.heads)) == len(shared.heads)
        for owner, prompt in zip(shared.owners, prompts, strict=True):
            assert tuple(prompt[: shared.depth]) == shared.heads[owner]
            assert len(prompt) > shared.depth
        assert set(shared.owners) == set(range(len(shared.heads)))
        depths.add(shared.depth)
    assert len(depths) > 5


def test_no_depth_computes_fewer_tokens() -> None:
    draw = random.Random(1)
    for _ in range(100):
        prompts = [[draw.randrange(2) for _ in range(draw.randint(3, 12))] for _ in range(8)]
        width = max(map(len, prompts))
        costs = [
            len({tuple(prompt[:depth]) for prompt in prompts}) * depth + len(prompts) * (width - depth)
            for depth in range(min(map(len, prompts)))
        ]
        found = costs[shared_heads(prompts).depth]
        assert found == min(costs) or (found == costs[0] and min(costs) > WORTH * costs[0])


def test_each_of_several_system_prompts_is_one_head() -> None:
    first, second = [1] * 300, [2] * 300
    prompts = [[*system, *range(10 * i, 11 * i)] for system in (first, second) for i in range(1, 9)]
    shared = shared_heads(prompts)
    assert shared.heads == [tuple(first), tuple(second)]
    assert shared.owners == [0] * 8 + [1] * 8


def test_a_prompt_that_is_anothers_beginning_keeps_a_token() -> None:
    shared = shared_heads([[1, 2, 3], [1, 2, 3, 4, 5], [1, 2, 3]])
    assert (shared.heads, shared.owners) == ([(1, 2)], [0, 0, 0])


def test_strangers_share_nothing() -> None:
    assert shared_heads([[i, *range(50)] for i in range(100, 108)]).heads == [()]
