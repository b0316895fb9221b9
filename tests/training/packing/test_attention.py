import math
import random

import pytest
import torch
from tiny import tiny_model
from torch import Tensor, nn

from cst.errors import TrainingError
from cst.training.packing.attention import FREE_SCORES, QUERY_BLOCK, TreePlan, attending_in_trees, tree_attention
from cst.training.packing.packs import Node

FORMS = [
    {"lengths": (5, 3, 20), "chain": True},
    {"lengths": (30, 4, 6, 5, 7, 6, 40, 3), "chain": False},
    {"lengths": (1, 1, 1, 2, 1, 3), "chain": False},
    {"lengths": (3, 150, 300, 290, 1), "chain": False},
]


def forest(lengths: tuple[int, ...], *, chain: bool, seed: int = 0) -> list[Node]:
    draw, nodes, start = random.Random(seed), list[Node](), 0
    for number, length in enumerate(lengths):
        parent = number - 1 if chain else draw.choice([None, *range(number)])
        depth = 0 if parent is None or parent < 0 else nodes[parent].depth + len(nodes[parent])
        nodes.append(Node(start, start + length, None if parent is None or parent < 0 else parent, depth))
        start += length
    return nodes


def seen(nodes: list[Node], window: int | None = None) -> Tensor:
    """Who sees whom, token by token: [T, T]."""
    size = nodes[-1].stop
    mask = torch.zeros(size, size, dtype=torch.bool)
    for node in nodes:
        path = [place for n in _upwards(nodes, node) for place in range(n.start, n.stop)]
        for inside in range(len(node)):
            visible = path + list(range(node.start, node.start + inside + 1))
            mask[node.start + inside, visible[-window:] if window else visible] = True
    return mask


def _upwards(nodes: list[Node], node: Node) -> list[Node]:
    found = []
    while node.parent is not None:
        node = nodes[node.parent]
        found.insert(0, node)
    return found


def masked(query, key, value, mask: Tensor, *, scaling: float, softcap: float | None) -> Tensor:
    """The slow way: all scores of the pack under one mask; [1, heads, T, D] -> [1, T, heads, D]."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = query @ key.transpose(2, 3) * scaling
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    return (scores.masked_fill(~mask, -math.inf).softmax(-1) @ value).transpose(1, 2)


def states(size: int, heads: int = 4, key_heads: int = 2, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = ((heads, 8), (key_heads, 8), (key_heads, 6))
    return [
        torch.randn(1, size, h, d, generator=generator, dtype=torch.float64).to(dtype).transpose(1, 2).requires_grad_()
        for h, d in shapes
    ]


def both(nodes: list[Node], mask: Tensor, *, window: int | None = None, softcap: float | None = None):
    """Outputs and gradients in trees and under the mask."""
    results = []
    plan = TreePlan.of(nodes, torch.device("cpu"))
    for attend in ("tree", "mask"):
        query, key, value = states(nodes[-1].stop)
        if attend == "tree":
            out, weights = tree_attention(
                nn.Identity(), query, key, value, None, scaling=0.3, sliding_window=window, softcap=softcap, tree=plan
            )
            assert weights is None
        else:
            out = masked(query, key, value, mask, scaling=0.3, softcap=softcap)
        grad_out = torch.sin(torch.arange(out.numel(), dtype=out.dtype)).view_as(out)
        results.append((out, *torch.autograd.grad(out, (query, key, value), grad_out)))
    return results


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("softcap", [None, 0.7])
@pytest.mark.parametrize("window", [None, 1, 9, 140, 10_000])
def test_trees_attend_as_their_mask_says(form, window: int | None, softcap: float | None):
    nodes = forest(**form)
    tree, mask = both(nodes, seen(nodes, window), window=window, softcap=softcap)
    for found, expected in zip(tree, mask, strict=True):
        assert torch.allclose(found, expected, atol=1e-11, rtol=1e-11)


def test_a_wrong_parent_gives_other_numbers():
    nodes = forest((10, 5, 5), chain=True)
    wrong = [nodes[0], nodes[1], Node(15, 20, 0, 10)]
    tree, mask = both(wrong, seen(nodes))
    assert (tree[0] - mask[0]).abs().max() > 1e-2
    assert torch.allclose(tree[0][:, :15], mask[0][:, :15], atol=1e-11)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_lower_precision_is_near(dtype: torch.dtype, tolerance: float):
    nodes = forest((30, 4, 6, 5, 7, 6, 40, 3), chain=False)
    plan, exact = TreePlan.of(nodes, torch.device("cpu")), states(nodes[-1].stop)
    near = [state.to(dtype) for state in exact]
    expected, _ = tree_attention(nn.Identity(), *exact, None, tree=plan)
    found, _ = tree_attention(nn.Identity(), *near, None, tree=plan)
    assert found.dtype == dtype
    assert (found.double() - expected).abs().max() < tolerance


def test_autocast_reaches_the_attention():
    plan = TreePlan.of(forest((3, 4), chain=True), torch.device("cpu"))
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = tree_attention(nn.Identity(), *states(7, dtype=torch.float32), None, tree=plan)
    assert found.dtype == torch.bfloat16


@pytest.mark.parametrize("wrong", [{"tree": None}, {"dropout": 0.1}, {"s_aux": torch.zeros(4)}])
def test_what_is_not_understood_is_refused(wrong: dict[str, object]):
    plan = TreePlan.of(forest((3, 4), chain=True), torch.device("cpu"))
    with pytest.raises(TrainingError, match="Identity can't attend in packs"):
        tree_attention(nn.Identity(), *states(7), None, **({"tree": plan} | wrong))


def test_a_model_attends_as_before_afterwards():
    model = tiny_model()
    with attending_in_trees(model), attending_in_trees(model):
        assert model.config._attn_implementation == "cst_tree"
    assert model.config._attn_implementation == "sdpa"
    with pytest.raises(RuntimeError), attending_in_trees(model):
        raise RuntimeError
    assert model.config._attn_implementation == "sdpa"


NODES = [  # a trunk, a stem, three answers; a stem without a trunk and its answer
    Node(0, 30, None, 0),
    Node(30, 36, 0, 30),
    Node(36, 236, 1, 36),
    Node(236, 430, 1, 36),
    Node(430, 440, 1, 36),
    Node(440, 447, None, 0),
    Node(447, 640, 5, 7),
]
SIZE = NODES[-1].stop


def visible(window: int | None) -> Tensor:
    """Who sees whom by the plan's blocks, counted: [T, T]."""
    counts = torch.zeros(SIZE, SIZE, dtype=torch.long)
    for bucket in TreePlan.of(NODES, torch.device("cpu")).buckets:
        for block in bucket.blocks(window, torch.float32):
            queries, keys = bucket.queries[:, block.queries], bucket.keys[:, block.keys]
            seen = torch.zeros(len(queries), queries.shape[1], keys.shape[1])
            seen[..., -block.mask.shape[1] :] += block.mask
            if block.hidden is not None:
                seen[..., : block.hidden.shape[1]].masked_fill_(block.hidden[:, None], -torch.inf)
            real = (seen == 0) & (queries >= 0)[..., None]
            assert (keys[:, None].expand_as(real)[real] >= 0).all(), "a query sees padding"
            pairs = queries[..., None].expand_as(real)[real], keys[:, None].expand_as(real)[real]
            counts.index_put_(pairs, torch.ones(len(pairs[0]), dtype=torch.long), accumulate=True)
    return counts


def ancestry() -> Tensor:
    """Distance in tokens from each token up to each that it sees, -1 where it doesn't: [T, T]."""
    distances = torch.full((SIZE, SIZE), -1)
    for node in NODES:
        path, parent = list(range(node.start, node.stop)), node.parent
        while parent is not None:
            path = [*range(NODES[parent].start, NODES[parent].stop), *path]
            parent = NODES[parent].parent
        for place in range(node.start, node.stop):
            upwards = path[: path.index(place) + 1][::-1]
            distances[place, upwards] = torch.arange(len(upwards))
    return distances


@pytest.mark.parametrize("window", [None, 1, 5, QUERY_BLOCK - 1, QUERY_BLOCK + 40, SIZE])
def test_each_token_sees_its_path_once_and_nothing_else(window: int | None):
    distances = ancestry()
    expected = (distances >= 0) if window is None else (distances >= 0) & (distances < window)
    assert torch.equal(visible(window), expected.long())


def test_only_nodes_of_like_size_share_a_bucket():
    buckets = TreePlan.of(NODES, torch.device("cpu")).buckets
    alone = {(len(node), node.depth) for node in NODES}
    assert sum(int((bucket.queries >= 0).sum()) for bucket in buckets) == SIZE
    for bucket in buckets:
        lengths, hidden = (bucket.queries >= 0).sum(1), bucket.hidden.sum(1)
        assert {(int(n), bucket.path - int(h)) for n, h in zip(lengths, hidden, strict=True)} <= alone
        padded = bucket.queries.numel() - int(lengths.sum())
        assert padded * bucket.path <= FREE_SCORES


def test_blocks_are_made_once_for_each_window_and_type():
    bucket = TreePlan.of(NODES, torch.device("cpu")).buckets[0]
    assert bucket.blocks(None, torch.float32) is bucket.blocks(None, torch.float32)
    assert bucket.blocks(None, torch.bfloat16)[0].mask.dtype == torch.bfloat16
    assert bucket.blocks(5, torch.float32)[-1].keys.start > bucket.blocks(None, torch.float32)[-1].keys.start
