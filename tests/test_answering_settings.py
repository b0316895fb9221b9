import subprocess
import sys

import pytest
from pydantic import ValidationError

from cst.answering_settings import AnsweringSettings
from cst.records import Sampling


@pytest.mark.parametrize(
    ("temperature", "num_beams", "decoding"),
    [(0.0, 1, "greedy search"), (0.0, 4, "beam search"), (0.1, 1, "sampling"), (0.1, 4, "beam sampling")],
)
def test_temperature_and_beams_decide_how_tokens_are_chosen(temperature, num_beams, decoding):
    sampling = Sampling(temperature=temperature, num_beams=num_beams, top_k=40, top_p=0.75, seed=3)
    settings = AnsweringSettings(base_model="m", sampling=sampling)

    assert settings.decoding == decoding
    drawn = settings.sampling_used == sampling
    assert drawn == (temperature > 0)
    assert settings.sampling_used.num_beams == num_beams


def test_without_draws_nothing_that_speaks_of_them_decides():
    asked = [Sampling(num_beams=4, top_k=k, top_p=p, seed=s) for k, p, s in ((0, 1.0, 0), (40, 0.75, 3))]

    assert len({AnsweringSettings(base_model="m", sampling=each).sampling_used for each in asked}) == 1


def test_a_model_must_be_named():
    assert AnsweringSettings(lora_weights="a/b").name == "a/b"
    assert AnsweringSettings(base_model="m", lora_weights="a/b").name == "a/b"
    assert AnsweringSettings(base_model="m").name == "m"
    with pytest.raises(ValidationError, match="base_model or lora_weights must name a model"):
        AnsweringSettings()


def test_importing_it_all_loads_no_torch():
    code = (
        "import sys, cst.answering, cst.commands.answers; print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stdout == "False False\n", done.stderr
