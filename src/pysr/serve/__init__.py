"""The service: images are upscaled for a page in the browser and for programs, over HTTP.

The process that answers requests (`app`, `server`) imports neither torch nor Pillow. Whatever touches an image happens
in a process of its own (`worker`), which may die and is then replaced (`pool`).
"""
