"""What this shows: a FastAPI service of your own, in about 40 lines. (`pysr serve` is a complete one.)

uvicorn service:app --app-dir examples
curl --data-binary @photo.jpg "http://127.0.0.1:8000/upscale?scale=2" -o big.jpg
"""

import io
import threading
from functools import lru_cache
from typing import Annotated, Literal

from fastapi import Body, FastAPI, HTTPException, Query, Response
from PIL import Image

import pysr

MOST_BYTES, MOST_PIXELS = 10_000_000, 4_000_000
Model = Literal["auto", "bicubic", "vdsr"]  # a list, since pysr.load takes paths of model files as well
app = FastAPI(title="Upscaling")
places = threading.BoundedSemaphore(2)  # images in work at the same time; others are sent away, not queued
load = lru_cache(pysr.load)  # each model is loaded once, and shared by all threads


@app.post("/upscale")
def upscale(  # without async: FastAPI calls it in a thread, and answers others meanwhile
    image: Annotated[bytes, Body(media_type="image/*", max_length=MOST_BYTES)],
    model: Model = "auto",
    scale: Annotated[int, Query(ge=2, le=4)] = 2,
) -> Response:
    if not places.acquire(blocking=False):
        raise HTTPException(503, "busy; try again", {"Retry-After": "5"})
    try:
        with Image.open(io.BytesIO(image)) as opened:  # reads the header only
            if opened.width * opened.height * getattr(opened, "n_frames", 1) > MOST_PIXELS:
                raise HTTPException(413, f"more than {MOST_PIXELS} pixels; send a smaller image")
            media_type = opened.get_format_mimetype()
        load(model, scale).upscale_file(io.BytesIO(image), result := io.BytesIO())
    except (pysr.PysrError, OSError, Image.DecompressionBombError) as error:  # such as a broken file
        raise HTTPException(422, str(error)) from error
    finally:
        places.release()
    return Response(result.getvalue(), media_type=media_type)
