import pytest
import torch

from cst.models.loading import load_model
from cst.models.response_logps import response_logps
from models.families import conversation
from models.tiny import model_folder


def test_a_padded_batch_gives_each_rows_own_sum_end_token_and_all(tmp_path):
    loaded = load_model(str(model_folder(tmp_path / "tiny")), device="cpu")
    cases = [("bake bread", "First, mix.", True), ("hi", "mix flour and water", False), ("flour " * 9, "a", True)]
    batch = [loaded.renderer.example(conversation(None, text), said, ended=ended) for text, said, ended in cases]
    expected = []
    for sequence in batch:
        with torch.no_grad():
            logps = loaded.model(torch.tensor([sequence.tokens])).logits[0].double().log_softmax(-1)
        places = range(sequence.response_start, len(sequence.tokens))
        expected.append(sum(float(logps[t - 1, sequence.tokens[t]]) for t in places))

    assert response_logps(loaded, batch) == pytest.approx(expected, abs=1e-4)
