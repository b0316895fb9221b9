import torch
from torch import nn

from cst.models.onednn_linears import MULTIPLY_ADDS, ROWS, multiplying_by_onednn

OPERATOR = "mkldnn::_linear_pointwise"
LARGE = (MULTIPLY_ADDS // 256 // ROWS, 256)
"""Numbers out and in of a layer that is worth it from `ROWS` rows on."""


def _model() -> nn.Sequential:
    out, width = LARGE
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(width, out), nn.Linear(out, width, bias=False))


def test_the_values_are_those_of_the_stock_layers() -> None:
    model = _model()
    for shape in ((1, 256), (ROWS, 256), (3, 7, 256), (64, 1, 256)):
        states = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            stock = model(states)
            with multiplying_by_onednn(model):
                torch.testing.assert_close(model(states), stock, rtol=1e-5, atol=1e-6)


def test_much_work_takes_the_other_product_and_little_its_own() -> None:
    """The control of the test above: without it, stock layers could pass for ours."""
    out, width = LARGE
    model, vast, smaller = _model(), nn.Linear(width, 2 * out), nn.Linear(width, out - 1)
    with multiplying_by_onednn(nn.ModuleList([model, vast, smaller])), torch.inference_mode():
        assert OPERATOR in _operators(model, torch.ones(ROWS, width))
        assert OPERATOR not in _operators(vast, torch.ones(ROWS - 1, width))
        assert OPERATOR not in _operators(smaller, torch.ones(ROWS, width))
        assert OPERATOR in _operators(smaller, torch.ones(ROWS + 1, width))
    assert OPERATOR not in _operators(model, torch.ones(ROWS, width)), "all is given back"


def _operators(model: nn.Module, states: torch.Tensor) -> set[str]:
    with torch.profiler.profile() as profile:
        model(states)
    return {event.key for event in profile.key_averages()}


def test_layers_of_other_types_and_kinds_keep_their_own() -> None:
    class Doubled(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(input)

    halves, doubled = nn.Linear(4, 4, dtype=torch.bfloat16), Doubled(4, 4)
    with multiplying_by_onednn(nn.ModuleList([halves, doubled])):
        assert "forward" not in halves.__dict__ and "forward" not in doubled.__dict__
