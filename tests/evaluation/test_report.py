import csv
import io
import json
import subprocess
import sys
from typing import Any

import pytest

from pysr.cli.terminal import evaluation_table, print_table
from pysr.evaluation.protocols import Evaluation, ImageResult, ScaleResult
from pysr.evaluation.report import to_csv, to_json, to_markdown
from pysr.plugin import Metric

METRICS = Metric("psnr", lambda: None, "", "PSNR in dB", decimals=2), Metric("ssim", lambda: None, "", "SSIM")


def evaluation(model: Any, data: Any, scores: Any) -> Any:
    """scores: by scale, those of its only image."""
    named = {scale: dict(zip(("psnr", "ssim"), both, strict=True)) for scale, both in scores.items()}
    results = [ScaleResult(scale, both, 0.5, (ImageResult("a, b", both, 0.5),)) for scale, both in named.items()]
    return Evaluation(model, data, "y-shave", METRICS, tuple(results))


def table(*evaluations: Any) -> Any:
    return to_markdown(evaluations).splitlines()[2:]


def test_markdown_has_a_table_a_data_set_and_the_best_in_bold() -> None:
    assert (
        to_markdown(
            [
                evaluation("a", "Set5", {2: (33.661, 0.95), 4: (28.0, 0.8)}),
                evaluation("b", "Set5", {2: (37.006, 0.9), 4: (27.0, 0.7)}),
                evaluation("a", "Set14", {2: (30.0, 0.5)}),
            ]
        )
        == """\
PSNR in dB / SSIM, protocol `y-shave`

| Set5 | x2 | x4 |
| --- | --- | --- |
| a | 33.66 / **0.9500** | **28.00** / **0.8000** |
| b | **37.01** / 0.9000 | 27.00 / 0.7000 |

| Set14 | x2 |
| --- | --- |
| a | 30.00 / 0.5000 |
"""
    )


def test_a_scale_that_a_model_does_not_offer_is_a_gap() -> None:
    a, b = evaluation("a", "Set5", {4: (28.0, 0.8)}), evaluation("b", "Set5", {3: (30.0, 0.9), 4: (27.0, 0.7)})
    assert table(a, b) == [
        "| Set5 | x3 | x4 |",
        "| --- | --- | --- |",
        "| a | - | **28.00** / **0.8000** |",
        "| b | 30.00 / 0.9000 | 27.00 / 0.7000 |",
    ]


def test_what_prints_alike_is_best_alike() -> None:
    a, b = evaluation("a", "Set5", {2: (float("inf"), 0.90001)}), evaluation("b", "Set5", {2: (29.0, 0.90002)})
    assert [line.split("|")[2] for line in table(a, b)[2:]] == [" **inf** / **0.9000** ", " 29.00 / **0.9000** "]


def test_a_name_breaks_no_table() -> None:
    head, _, row = table(evaluation("a|b", "Set|5", {2: (30.0, 0.9)}))
    assert (head, row) == (r"| Set\|5 | x2 |", r"| a\|b | 30.00 / 0.9000 |")


def test_scores_of_a_metric_that_is_no_longer_installed_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    gone = Metric("gone", lambda: None, "", "distance in furlongs", lower_is_better=True, decimals=1)
    scores = {"a": {"gone": 0.25}, "b": {"gone": 0.14}}
    found = [
        Evaluation(model, "Set5", "y-shave", (gone,), (ScaleResult(2, own, 1.0, (ImageResult("i", own, 1.0),)),))
        for model, own in scores.items()
    ]
    assert to_markdown(found).splitlines()[0] == "distance in furlongs, protocol `y-shave`"
    assert table(*found)[2:] == ["| a | 0.2 |", "| b | **0.1** |"]
    assert to_csv(found).splitlines()[:2] == ["data,model,scale,image,gone,seconds", "Set5,a,2,i,0.250,1.0000"]
    print_table(evaluation_table(found))
    assert "0.250" in capsys.readouterr().out


def test_csv_has_a_line_an_image() -> None:
    text = to_csv([evaluation("a", "Set5", {2: (33.66123, 0.9512345), 3: (float("inf"), 1.0)})])
    first, second = csv.DictReader(io.StringIO(text))
    assert first == {
        "data": "Set5",
        "model": "a",
        "scale": "2",
        "image": "a, b",
        "psnr": "33.6612",
        "ssim": "0.951234",
        "seconds": "0.5000",
    }
    assert float(second["psnr"]) == float("inf")


def test_json_is_a_list_of_everything() -> None:
    found = [evaluation("a", "Set5", {2: (30.0, 0.9)}), evaluation("b", "Set5", {2: (float("inf"), 1.0)})]
    a, b = json.loads(to_json(found))
    image = {"name": "a, b", "psnr": 30.0, "ssim": 0.9, "seconds": 0.5}
    result = {"scale": 2, "psnr": 30.0, "ssim": 0.9, "seconds": 0.5, "images": [image]}
    assert a == {"model": "a", "data": "Set5", "protocol": "y-shave", "results": [result]}
    assert b["results"][0]["psnr"] is None


@pytest.mark.parametrize("module", ["pysr.evaluation.report", "pysr.cli.terminal"])
def test_importing_does_not_import_torch(module: str) -> None:
    script = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
