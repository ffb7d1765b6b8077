"""Every installed model keeps the contract. Nothing here changes when a model is added."""

import pytest

from pysr import models
from pysr.plugin import Model
from pysr.testing import check_model


@pytest.mark.parametrize("model", models(), ids=lambda model: model.name)
def test_keeps_the_contract(model: Model) -> None:
    scales = model.trained_scales
    if not scales:
        pytest.skip(f"{model.name} comes without weights: train it first")
    check_model(model.name, scales=(scales[0], scales[-1]))
