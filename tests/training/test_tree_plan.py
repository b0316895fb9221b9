import pytest
import torch
from torch import Tensor

from cst.training.packs import Node
from cst.training.tree_plan import FREE_SCORES, QUERY_BLOCK, TreePlan

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
