"""The process that reads, upscales and writes images: ``python -m pysr.serve.worker``, started by `pool`.

It talks in lines of JSON. Standard input brings its settings first, then jobs, ``{"job": 7, "folder": ..., "task":
"upscale" or "sample", ...}``, and ``{"cancel": 7}``. Standard output takes ``{"models": [...]}`` once it is ready, then
``{"job": 7, "done": 3, "total": 9}`` now and then, and for each job one ``{"job": 7, "result": {...}}`` or
``{"job": 7, "problem": {...}}``. Images are files in the job's folder: ``image`` comes in, and the result says which
file goes out. When standard input ends, so does the process.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import IO, TYPE_CHECKING, Any

from ..errors import InputError, OutOfMemoryError, PysrError, UnknownNameError, format_error

if TYPE_CHECKING:
    from ..plugin import Model
    from ..upscaling.upscaler import Upscaler

SOURCE = "image"  # the name of the file that comes in; messages show it
_KEPT_MODELS = 4  # loaded at the same time
_MOST_WARNINGS, _LONGEST_WARNING = 20, 300  # sent with a result, in a header; characters
_REPORT_SECONDS = 0.1  # between two reports of progress
_NICENESS = 5  # below the process that answers requests, so that it answers at once


class Cancelled(Exception):
    """The job is no longer wanted."""


class Worker:
    """Works on one job at a time.

    Args:
        settings: ``device``, ``precision``, ``models_folder``, ``max_pixels`` and ``max_output_pixels``.
        send: Called with each message to send.
    """

    def __init__(self, settings: Mapping[str, Any], send: Callable[[Mapping[str, Any]], None]) -> None:
        self._settings, self._send = settings, send
        folder = settings["models_folder"]
        self._files = model_files(Path(folder)) if folder else {}
        self._loaded: OrderedDict[tuple[Any, ...], Upscaler] = OrderedDict()
        self.cancelled: set[int] = set()

    def models(self) -> list[dict[str, Any]]:
        """Describe what jobs may ask for."""
        return describe_models(self._files)

    def work(self, job: Mapping[str, Any]) -> None:
        """Do a job, and send its result or its problem."""
        from ..upscaling.report import collected_warnings

        number = job["job"]
        try:
            os.chdir(job["folder"])
            task = self._upscale if job["task"] == "upscale" else self._sample
            started = time.perf_counter()
            with collected_warnings() as warnings:
                result = task(job, self._reporter(number))
            seconds, told = round(time.perf_counter() - started, 3), warnings[:_MOST_WARNINGS]
            result |= {"seconds": seconds, "warnings": [warning[:_LONGEST_WARNING] for warning in told]}
            self._send({"job": number, "result": result})
        except Cancelled:
            self._send({"job": number, "problem": {"status": 499, "detail": "the work was cancelled"}})
        except Exception as error:
            self._send({"job": number, "problem": self._problem(error)})
        finally:
            self.cancelled.discard(number)

    def _reporter(self, job: int) -> Callable[[int, int], None]:
        last = 0.0

        def report(done: int, total: int) -> None:
            nonlocal last
            if job in self.cancelled:
                raise Cancelled
            if (now := time.monotonic()) - last >= _REPORT_SECONDS:
                last = now
                self._send({"job": job, "done": done, "total": total})

        report(0, 1)
        return report

    def _upscale(self, job: Mapping[str, Any], report: Callable[[int, int], None]) -> dict[str, Any]:
        size = self._image_size()
        upscaler = self._upscaler(job)
        self._check_output(size, upscaler.scale)
        file = f"result.{job['format'] or _own_format()}"
        chosen = upscaler.chosen_for(SOURCE)
        width, height = chosen.upscale_file(SOURCE, file, progress=report).size
        return {"file": file, "model": chosen.model.name, "scale": chosen.scale, "width": width, "height": height}

    def _sample(self, job: Mapping[str, Any], report: Callable[[int, int], None]) -> dict[str, Any]:
        from ..evaluation.samples import uncertainty_image
        from ..files import read_image, write_image

        size = self._image_size()
        upscaler = self._upscaler(job)
        self._check_output(size, upscaler.scale, job["count"])
        image = read_image(SOURCE)
        if image.mode == "CMYK":
            image = image.convert("RGB")  # PNG cannot hold it
        options = {"seed": job["seed"], "temperature": job["temperature"], "progress": report}
        samples = upscaler.sample(image, job["count"], **options)
        largest, uncertainty = uncertainty_image(samples)
        names = [f"sample_{number:02}.png" for number in range(1, len(samples) + 1)]
        for name, drawn in zip(names, samples, strict=True):
            write_image(drawn, name)
        write_image(uncertainty, "uncertainty.png")
        width, height = samples[0].size
        facts = {"model": upscaler.model.name, "scale": upscaler.scale, "width": width, "height": height}
        shown = {
            "samples": [_data_url(name) for name in names],
            "uncertainty": _data_url("uncertainty.png"),
            "largest": largest,
        }
        Path("result.json").write_text(json.dumps(facts | {"seed": job["seed"]} | shown), encoding="utf-8")
        return facts | {"file": "result.json"}

    def _upscaler(self, job: Mapping[str, Any]) -> Upscaler:
        """Return the loaded model that a job asks for; those that were not used for longest are dropped."""
        from ..upscaling.loading import load

        name, scale, strength = key = job["model"], job["scale"], job["strength"]
        if key not in self._loaded:
            while len(self._loaded) >= _KEPT_MODELS:
                self._loaded.popitem(last=False)
            model = (self._files[name].file if name in self._files else None) or name
            hardware = {option: self._settings[option] for option in ("device", "precision")}
            self._loaded[key] = load(model, scale, strength=strength, **hardware)
        self._loaded.move_to_end(key)
        return self._loaded[key]

    def _image_size(self) -> tuple[int, int]:
        """Return the size that the image's header says, and refuse one that is too large."""
        from ..files import image_size

        (width, height), most = image_size(SOURCE), self._settings["max_pixels"]
        if width * height > most:
            raise _TooLarge(f"the image is {width} x {height}, and {most} pixels are accepted; send a smaller one")
        return width, height

    def _check_output(self, size: tuple[int, int], scale: int, count: int = 1) -> None:
        """Refuse a result, or as many samples, that would be too large."""
        most, pixels = self._settings["max_output_pixels"], size[0] * size[1] * scale**2 * count
        if pixels > most:
            what = "the result" if count == 1 else f"{count} samples"
            raise _TooLarge(
                f"{what} would have {pixels} pixels, and {most} are accepted; choose a smaller scale, or send a smaller"
                " image"
            )

    def _problem(self, error: Exception) -> dict[str, Any]:
        detail = format_error(error)
        if folder := self._settings["models_folder"]:
            detail = detail.replace(f"{folder}{os.sep}", "")
        if isinstance(error, (_TooLarge, OutOfMemoryError)):
            return {"status": 413, "detail": detail}
        if isinstance(error, (InputError, UnknownNameError)):
            return {"status": 422, "detail": detail}
        logging.getLogger("pysr").error("a request failed", exc_info=error)
        if isinstance(error, PysrError):
            return {"status": 500, "detail": detail}
        return {"status": 500, "detail": f"{detail} (this is a bug; the server's log says more)"}


class _TooLarge(InputError):
    """An image or a result beyond the limits."""


def model_files(folder: Path) -> dict[str, Model]:
    """Open the model files of a folder: models by name. What cannot be used is named in the log."""
    from ..registry import registry
    from ..upscaling.model_files import list_models, open_model

    found: dict[str, Model] = {}
    taken = {name for model in registry().models.values() for name in (model.name, *model.aliases)}
    for path in list_models([folder]):
        try:
            if path.stem in taken or path.stem in found:
                raise InputError(f"there is another model called {path.stem}; rename the file")
            found[path.stem] = open_model(path)
        except PysrError as error:
            logging.getLogger("pysr").warning("%s is left out: %s", path.name, format_error(error))
    return found


def describe_models(files: Mapping[str, Model]) -> list[dict[str, Any]]:
    """Describe what can be asked for: the automatic choice, the installed models with weights, and model files."""
    from ..namespaces import AUTO
    from ..registry import registry
    from ..upscaling.auto import auto_scales

    facts = [
        {
            "name": model.name,
            "aliases": list(model.aliases),
            "summary": model.summary,
            "scales": sorted(model.trained_scales),
            "strength_scales": [scale for scale in sorted(model.trained_scales) if _has_strength(model, scale)],
            "domain": model.domain,
            "made_for": model.made_for,
            "samples": model.stochastic,
            "paper": model.paper,
        }
        for model in [*registry().models.values(), *files.values()]
        if model.trained_scales
    ]
    auto = {"name": AUTO, "aliases": [], "summary": "Chooses a model for each image", "scales": list(auto_scales())}
    return [auto | {"strength_scales": [], "domain": "photo", "made_for": "any", "samples": False, "paper": ""}, *facts]


def _has_strength(model: Model, scale: int) -> bool:
    return model.clean_counterpart(scale, model.variants[0] if model.variants else None) is not None


def _own_format() -> str:
    """The format of a result where none was asked for: the image's if browsers show it, else PNG."""
    from ..evaluation.page import media_type

    with open(SOURCE, "rb") as file:
        media = media_type(file.read(16))
    return {"image/jpeg": "jpg", "image/webp": "webp", "image/avif": "avif"}.get(media or "", "png")


def _data_url(name: str) -> str:
    import base64

    return f"data:image/png;base64,{base64.b64encode(Path(name).read_bytes()).decode()}"


def _read(lines: IO[str], worker: Worker, jobs: SimpleQueue[Mapping[str, Any]]) -> None:
    for line in lines:
        message = json.loads(line)
        if "cancel" in message:
            worker.cancelled.add(message["cancel"])
        else:
            jobs.put(message)
    os._exit(0)  # the service is gone, and nobody waits for what is being computed


def main() -> None:
    """Work until standard input ends."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the service ends its workers itself, after their last job
        signal.signal(number, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a plugin prints goes to the log

    def send(message: Mapping[str, Any]) -> None:
        output.write(json.dumps(message) + "\n")
        output.flush()

    logging.basicConfig(format="pysr serve: %(message)s")
    settings = json.loads(sys.stdin.readline())
    worker, jobs = Worker(settings, send), SimpleQueue[Mapping[str, Any]]()
    import torch  # noqa: F401  # before the first job, which would wait for it

    send({"models": worker.models()})
    Thread(target=_read, args=(sys.stdin, worker, jobs), daemon=True).start()
    while True:
        worker.work(jobs.get())


if __name__ == "__main__":
    main()
