"""Plans are checked against what they promise, with a NumPy cut and blend written for the tests alone."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pysr.errors import InputError
from pysr.upscaling.plan import AxisPlan, Plan, plan_tiles

many = settings(derandomize=True, deadline=None, max_examples=150)
some = settings(derandomize=True, deadline=None, max_examples=40)


@st.composite
def plans(draw: Any, modes: tuple[str, ...] = ("exact", "blend", "mean"), largest: int = 70) -> Any:
    """A valid request and its plan; patches are large enough for the mode."""
    multiple_of = draw(st.sampled_from([1, 1, 2, 4, 8]))
    halo = draw(st.integers(0, 6))
    overlap = draw(st.integers(0, 20))
    mode = draw(st.sampled_from(modes))
    least = (2 * halo if mode == "exact" else overlap) + multiple_of
    sizes = st.tuples(st.integers(1, largest), st.integers(1, largest))
    request = {
        "scale": draw(st.sampled_from([1, 2, 3, 4])),
        "patch": tuple(least + extra for extra in draw(st.tuples(st.integers(0, 30), st.integers(0, 30)))),
        "halo": halo,
        "overlap": overlap,
        "mode": mode,
        "multiple_of": multiple_of,
    }
    return request, plan_tiles(draw(sizes), **request)


def both(a_plan: Any) -> Any:
    return a_plan.rows, a_plan.columns


def placed(axis: AxisPlan) -> np.ndarray:
    """(patches, output pixels) weights, each patch's where it lies; what reaches beyond the image is cut off."""
    scale = axis.weights.shape[1] // axis.patch
    line = np.zeros((len(axis.starts), (axis.starts[-1] + axis.patch) * scale))
    for row, start, weights in zip(line, axis.starts, axis.weights, strict=True):
        row[start * scale : start * scale + weights.size] = weights
    assert not line[:, axis.length * scale :].any()
    return line[:, : axis.length * scale]


def cut_out(image: np.ndarray, a_plan: Plan) -> list[list[np.ndarray]]:
    """Patches of (H, W), mirrored where they reach beyond it."""
    beyond = [(0, max(0, c.starts[-1] + c.patch - c.length)) for c in both(a_plan)]
    image = np.pad(image, beyond, mode="symmetric")
    height, width = a_plan.patch
    return [[image[y : y + height, x : x + width] for x in a_plan.columns.starts] for y in a_plan.rows.starts]


def put_together(patches: list[list[np.ndarray]], a_plan: Plan) -> np.ndarray:
    """Span by span, from no more rows of patches than the plan says are needed."""
    total = np.zeros(a_plan.output_shape)
    rows, columns = placed(a_plan.rows), placed(a_plan.columns)
    for finished in a_plan.output_rows():
        for i in range(*finished.needed):
            for j, start in enumerate(a_plan.columns.output_starts):
                for y in range(*finished.span):
                    if rows[i, y]:
                        line = patches[i][j][y - a_plan.rows.output_starts[i]]
                        line = line[: total.shape[1] - start]
                        inside = slice(start, start + line.size)
                        total[y, inside] += rows[i, y] * columns[j, inside] * line
    return total


def convolved(image: np.ndarray, layer: np.ndarray) -> np.ndarray:
    """(H, W) with (3, 3), zeros beyond the border."""
    around = np.pad(image, 1)
    height, width = image.shape
    return sum(layer[y, x] * around[y : y + height, x : x + width] for y in range(3) for x in range(3))


@many
@given(plans())
def test_weights_of_every_output_pixel_add_up_to_exactly_one(drawn: Any) -> None:
    for axis in both(drawn[1]):
        assert (placed(axis).sum(0) == 1).all()
        assert axis.weights.dtype == np.float32
        assert (axis.weights >= 0).all()


@many
@given(plans())
def test_patches_have_one_shape_and_lie_inside_at_aligned_places(drawn: Any) -> None:
    request, made = drawn
    multiple_of = request["multiple_of"]
    for axis, wanted in zip(both(made), request["patch"], strict=True):
        starts = np.array(axis.starts)
        assert (starts % multiple_of == 0).all()
        assert (np.diff(starts) > 0).all()
        assert axis.patch % multiple_of == 0
        assert starts[0] == 0
        assert axis.length <= starts[-1] + axis.patch < axis.length + multiple_of
        assert axis.patch <= wanted + multiple_of - 1
        if len(starts) > 2:  # spread evenly: never a sliver at the end
            assert np.ptp(np.diff(starts)) <= multiple_of


@many
@given(plans())
def test_an_axis_no_longer_than_the_patch_is_one_patch(drawn: Any) -> None:
    request, made = drawn
    for axis, wanted in zip(both(made), request["patch"], strict=True):
        if axis.length <= wanted:
            assert axis.starts == (0,)
            assert axis.length <= axis.patch < axis.length + request["multiple_of"]


@many
@given(plans(modes=["exact"]))
def test_exact_keeps_every_pixel_once_and_a_halo_away_from_inner_edges(drawn: Any) -> None:
    request, made = drawn
    for axis in both(made):
        weights = placed(axis)
        assert set(np.unique(weights)) <= {0.0, 1.0}
        for i, (start, row) in enumerate(zip(axis.starts, weights, strict=True)):
            kept = np.flatnonzero(row) // made.scale
            if i > 0:
                assert kept.min() >= start + request["halo"]
            if i < len(axis.starts) - 1:
                assert kept.max() < start + axis.patch - request["halo"]


@many
@given(plans(modes=["blend"]))
def test_blend_meets_at_most_two_patches_and_ramps_are_straight(drawn: Any) -> None:
    request, made = drawn
    for axis in both(made):
        weights = placed(axis)
        assert ((weights > 0).sum(0) <= 2).all()
        for row in weights:
            steps = np.diff(row)
            rising = steps[(steps > 0) & (row[1:] < 1) & (row[:-1] > 0)]
            falling = steps[(steps < 0) & (row[1:] > 0) & (row[:-1] < 1)]
            for ramp in (rising, falling):
                assert np.ptp(ramp) < 1e-6 if ramp.size else True
            assert ((row > 0) & (row < 1)).sum() <= 2 * request["overlap"] * made.scale


def test_blend_uses_the_whole_overlap_and_keeps_the_halo_where_there_is_room() -> None:
    axis = plan_tiles((1000, 1), scale=2, patch=(100, 100), halo=8, overlap=20, mode="blend").rows
    for i, (start, row) in enumerate(zip(axis.output_starts, placed(axis), strict=True)):
        assert ((row > 0) & (row < 1)).sum() in ({80} if 0 < i < len(axis.starts) - 1 else {40})
        counted = np.flatnonzero(row)
        assert counted.min() >= start + 16 or i == 0
        assert counted.max() < start + 200 - 16 or i == len(axis.starts) - 1


def test_a_ramp_has_the_values_it_should() -> None:
    axis = plan_tiles((12, 1), scale=1, patch=(8, 8), halo=0, overlap=4, mode="blend").rows
    assert axis.starts == (0, 4)
    np.testing.assert_array_equal(axis.weights[0], [1, 1, 1, 1, 0.875, 0.625, 0.375, 0.125])
    np.testing.assert_array_equal(axis.weights[1], [0.125, 0.375, 0.625, 0.875, 1, 1, 1, 1])


@many
@given(plans(modes=["mean"]))
def test_mean_weighs_all_patches_of_a_pixel_alike(drawn: Any) -> None:
    for axis in both(drawn[1]):
        starts = np.array(axis.starts)[:, None] * drawn[1].scale
        pixels = np.arange(axis.length * drawn[1].scale)
        covers = (starts <= pixels) & (pixels < starts + axis.patch * drawn[1].scale)
        np.testing.assert_allclose(placed(axis), covers / covers.sum(0), atol=1e-6)
        assert (np.diff(axis.starts) <= max(1, axis.patch - drawn[0]["overlap"])).all()


@many
@given(plans())
def test_output_rows_follow_each_other_and_know_what_they_need(drawn: Any) -> None:
    made = drawn[1]
    finished = list(made.output_rows())
    rows = placed(made.rows)
    assert [f.tile_row for f in finished] == list(range(made.grid[0]))
    assert [f.span[0] for f in finished] == [0, *(f.span[1] for f in finished[:-1])]
    assert finished[-1].span[1] == made.output_shape[0]
    for some_rows in finished:
        assert some_rows.span[0] < some_rows.span[1]
        needed = np.flatnonzero(rows[:, slice(*some_rows.span)].any(1))
        assert (needed[0], needed[-1] + 1) == some_rows.needed
        assert needed[-1] == some_rows.tile_row


@some
@given(plans(largest=40), st.integers(0, 2**32 - 1))
def test_cutting_and_blending_changes_nothing(drawn: Any, seed: Any) -> None:
    made = drawn[1]
    image = np.random.default_rng(seed).random((made.rows.length, made.columns.length))
    enlarged = image.repeat(made.scale, 0).repeat(made.scale, 1)
    patches = [[p.repeat(made.scale, 0).repeat(made.scale, 1) for p in row] for row in cut_out(image, made)]
    np.testing.assert_allclose(put_together(patches, made), enlarged, rtol=0, atol=1e-12)


@some
@given(plans(modes=["exact"], largest=60), st.integers(0, 2**32 - 1))
def test_exact_is_the_whole_image_for_convolutions_of_that_radius(drawn: Any, seed: Any) -> None:
    request, made = drawn
    random = np.random.default_rng(seed)
    layers = [random.standard_normal((3, 3)) for _ in range(request["halo"])]
    image = random.random((made.rows.length, made.columns.length))
    beyond = [(0, -length % request["multiple_of"]) for length in image.shape]

    def network(patch: Any) -> Any:  # pads itself with zeros at each layer and has biases: a wrong border would show
        for layer in layers:
            patch = np.maximum(convolved(patch, layer) + 0.1, -0.5)
        return patch.repeat(made.scale, 0).repeat(made.scale, 1)

    whole = network(np.pad(image, beyond, mode="symmetric"))[: made.output_shape[0], : made.output_shape[1]]
    patches = [[network(patch) for patch in row] for row in cut_out(image, made)]
    np.testing.assert_allclose(put_together(patches, made), whole, rtol=1e-10, atol=1e-10)


def test_origins_are_the_corners_of_a_row() -> None:
    made = plan_tiles((20, 30), scale=2, patch=(16, 12), halo=2)
    assert made.origins(1).tolist() == [[made.rows.starts[1], left] for left in made.columns.starts]
    assert made.grid == (len(made.rows.starts), len(made.columns.starts))


def test_a_patch_that_is_all_halo_names_the_smallest_that_works() -> None:
    with pytest.raises(InputError, match="patches of 24 pixels are too small for a halo of 12 pixels; use at least 32"):
        plan_tiles((100, 100), scale=2, patch=(20, 64), halo=12, multiple_of=8)
    plan_tiles((100, 100), scale=2, patch=(32, 64), halo=12, multiple_of=8)
    plan_tiles((20, 100), scale=2, patch=(20, 64), halo=12, multiple_of=8)  # goes whole: no halo inside


def test_an_overlap_as_large_as_the_patch_is_refused() -> None:
    with pytest.raises(InputError, match="use at least 33"):
        plan_tiles((100, 100), scale=2, patch=(32, 32), halo=0, overlap=32, mode="mean")


@pytest.mark.parametrize("wrong", [{"scale": 0}, {"halo": -1}, {"overlap": -1}, {"multiple_of": 0}, {"patch": (0, 8)}])
def test_sizes_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="sizes start at 1"):
        plan_tiles((10, 10), **({"scale": 2, "patch": (8, 8), "halo": 1} | wrong))


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(InputError, match="'seam'; use one of exact, blend, mean"):
        plan_tiles((10, 10), scale=2, patch=(8, 8), halo=1, mode="seam")
