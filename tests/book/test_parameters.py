"""A notebook's parameters: what papermill or a reader gives is either what the notebook expects, or one sentence."""

import pytest

from kvlab.book.parameters import ParameterError, check_parameters

DECLARED = {"episodes": int, "thresholds": list[float], "suite": str, "gates": list[str], "seed": int | None}
DECLARED |= {"confidence": float, "margin": float, "workers": int}
DEFAULTS = {"episodes": 3, "thresholds": [0.985], "suite": "libero_spatial", "gates": ["never"], "seed": None}
DEFAULTS |= {"confidence": 0.95, "margin": 0.05, "workers": 2}


def namespace(**given) -> dict:
    """What a notebook's globals look like after papermill injected `given`."""
    cell = "# Parameters\n" + "".join(f"{name} = {value!r}\n" for name, value in given.items())
    return {"__annotations__": DECLARED, "In": ["", "episodes: int = 3", cell], "unrelated": 1, **DEFAULTS, **given}


def test_the_defaults_pass_and_nothing_was_given():
    names = {"__annotations__": DECLARED, "In": ["", "episodes: int = 3"], **DEFAULTS}
    assert check_parameters(names) == ()
    assert {name: names[name] for name in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        ({"episodes": 100}, 100),
        ({"thresholds": "[0.985, 0.98]"}, [0.985, 0.98]),
        ({"thresholds": [1]}, [1.0]),
        ({"suite": "libero_10"}, "libero_10"),
        ({"gates": "[vision >= 0.98, every(4)]"}, ["vision >= 0.98", "every(4)"]),
        ({"seed": 7}, 7),
    ],
)
def test_what_papermill_passes_becomes_the_declared_type(given, becomes):
    names = namespace(**given)
    (name,) = given
    assert check_parameters(names) == (name,)
    assert names[name] == becomes
    assert type(names[name]) is type(becomes)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"episodes": "abc"}, "parameter 'episodes' must be int, got 'abc' (str)"),
        ({"episodes": 2.5}, "parameter 'episodes' must be int, got 2.5 (float)"),
        ({"episodes": True}, "parameter 'episodes' must be int, got True (bool)"),
        ({"thresholds": 0.98}, "parameter 'thresholds' must be list[float], got 0.98 (float)"),
        ({"thresholds": "[0.98, high]"}, "parameter 'thresholds' must be list[float], got '[0.98, high]' (str)"),
        ({"thresholds": "[0.98"}, "parameter 'thresholds' must be list[float], got '[0.98' (str)"),
        ({"suite": 10}, "parameter 'suite' must be str, got 10 (int)"),
        (
            {"thresholds": "[]"},
            "parameter 'thresholds' must be list[float], got '[]' (str): List should have at least 1 item",
        ),
        ({"gates": []}, "parameter 'gates' must be list[str], got [] (list): List should have at least 1 item"),
        ({"confidence": 95}, "parameter 'confidence' must be float, got 95 (int): Input should be less than 1"),
        ({"confidence": 0.0}, "parameter 'confidence' must be float, got 0.0 (float): Input should be greater than 0"),
        ({"confidence": float("nan")}, "parameter 'confidence' must be float, got nan (float)"),
        ({"episodes": 0}, "parameter 'episodes' must be int, got 0 (int): Input should be greater than or equal to 1"),
        ({"episodes": 501}, "parameter 'episodes' must be int, got 501 (int): Input should be less than or equal to"),
        ({"margin": 1.0}, "parameter 'margin' must be float, got 1.0 (float): Input should be less than 1"),
        ({"margin": 0.0}, "parameter 'margin' must be float, got 0.0 (float): Input should be greater than 0"),
        ({"workers": 0}, "parameter 'workers' must be int, got 0 (int): Input should be greater than or equal to 1"),
        ({"episode": 3}, "unknown parameter 'episode'; this notebook has episodes (int), thresholds (list[float])"),
    ],
)
def test_a_wrong_parameter_is_one_sentence(given, sentence):
    with pytest.raises(ParameterError) as error:
        check_parameters(namespace(**given))
    assert str(error.value).startswith(sentence)
    assert "\n" not in str(error.value)
    assert error.value._render_traceback_() == [f"ParameterError: {error.value}"]
