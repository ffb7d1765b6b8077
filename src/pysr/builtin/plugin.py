"""The core's own models, losses and so on, through the same hooks as everybody else's."""

from ..namespaces import LOCAL
from ..plugin import Degradation, Engine, Loss, Metric, Model, ModelReader, Preprocessor, hookimpl, lazy

SCALES = (2, 3, 4, 5, 6, 7, 8)  # 8 is the largest that super-resolution papers report


@hookimpl
def pysr_models() -> list[Model]:
    return [
        Model(
            "bicubic",
            SCALES,
            lazy("pysr.builtin.network:bicubic"),
            "Cubic convolution, as MATLAB's imresize",
            colour="any",
            scores={2: 33.66, 3: 30.39, 4: 28.42},
            receptive_field=2,
            paper="Keys 1981",
        ),
        Model(
            "nearest",
            SCALES,
            lazy("pysr.builtin.network:nearest"),
            "Every pixel repeated",
            colour="any",
            scores={2: 30.85, 3: 27.92, 4: 26.25},
            receptive_field=0,
        ),
        Model(
            "lanczos",
            SCALES,
            lazy("pysr.builtin.network:lanczos"),
            "Windowed sinc of three lobes",
            colour="any",
            scores={2: 34.30, 3: 30.81, 4: 28.80},
            receptive_field=3,
            paper="Duchon 1979",
        ),
    ]


@hookimpl
def pysr_losses() -> list[Loss]:
    return [
        Loss("l1", lambda: lazy("torch.nn.functional:l1_loss"), "Mean absolute error"),
        Loss("mse", lambda: lazy("torch.nn.functional:mse_loss"), "Mean squared error"),
        Loss(
            "charbonnier",
            lazy("pysr.builtin.losses:charbonnier"),
            "Smooth absolute error, sqrt(d^2 + epsilon^2); charbonnier:0.001",
        ),
    ]


@hookimpl
def pysr_preprocessors() -> list[Preprocessor]:
    return [
        Preprocessor(
            "luma",
            lazy("pysr.builtin.network:LumaOnly"),
            "The network gets Y of BT.601; Cb and Cr are enlarged by bicubic",
            after_reach=2,
        ),
        Preprocessor(
            "bicubic",
            lazy("pysr.builtin.network:Enlarge"),
            "Bicubic enlargement first: the network works at output size",
            reach=2,
            enlarges=True,
        ),
    ]


@hookimpl
def pysr_metrics() -> list[Metric]:
    return [
        Metric(
            "psnr",
            lambda: lazy("pysr.evaluation.metrics:psnr"),
            "Peak signal-to-noise ratio of luma",
            "PSNR in dB",
            decimals=2,
        ),
        Metric(
            "ssim",
            lambda: lazy("pysr.evaluation.metrics:ssim"),
            "Structural similarity of luma (Wang et al. 2004)",
            "SSIM",
            smallest=11,  # its window
        ),
    ]


@hookimpl
def pysr_degradations() -> list[Degradation]:
    return [
        Degradation(
            "photo",
            lambda: lazy("pysr.training.degradations:photo"),
            "Random blur, resizing, noise, sharpening and compression, to train on",
        ),
        Degradation(
            "photo-mild",
            lazy("pysr.imaging.degrade:photo_mild"),
            "To evaluate by: blur of sigma 0.6, gray noise of sigma 3 / 255, JPEG of quality 80",
        ),
        Degradation(
            "photo-medium",
            lazy("pysr.imaging.degrade:photo_medium"),
            "To evaluate by: blur of sigma 1.6, noise of sigma 7 / 255, JPEG of quality 55",
        ),
        Degradation(
            "photo-strong",
            lazy("pysr.imaging.degrade:photo_strong"),
            "To evaluate by: blur of sigma 2.8 x 1.6, noise of 60 photons and sigma 6 / 255, JPEG of quality 35",
        ),
    ]


@hookimpl
def pysr_model_files() -> list[ModelReader]:
    return [
        ModelReader(
            "pysr",
            lambda path, start: start[8:9] == b"{" and b'"pysr.model"' in start,
            lazy("pysr.builtin.trained:open_trained"),
            "Weights that `pysr train` wrote, as the model that they are for",
            (".safetensors",),
        )
    ]


@hookimpl
def pysr_engines() -> list[Engine]:
    return [Engine(LOCAL, lazy("pysr.upscaling.jobs:work_locally"), "Threads of this process")]
