"""What this distribution provides to pysr. Does not import Ray."""

from pysr.plugin import Engine, hookimpl, lazy


@hookimpl
def pysr_engines() -> list[Engine]:
    return [Engine("ray", lazy("pysr_ray.engine:run"), "Actors on the machines of a Ray cluster")]
