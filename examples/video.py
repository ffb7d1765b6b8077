"""What this shows: the frames of a video, upscaled one by one with PyAV; frame times and sound are kept.

    python examples/video.py holiday.mp4 holiday_x2.mp4 --model vdsr --scale 2

Frames go through pysr as NumPy arrays (H, W, 3) of uint8, and come back as such; nothing is written between. The model
is for single images: it does not know the frames before and after, so noise may flicker. Colour matrix and range are
kept; HDR, subtitles and a phone's note of how it was held are not. The encoder needs even sides.
"""

import argparse
from pathlib import Path

import av
from av.video import VideoFrame, VideoStream

import pysr


def enlarged(frame: VideoFrame, upscaler: pysr.Upscaler) -> VideoFrame:
    """A frame upscaled, in the old one's colour matrix and at its time."""
    pixels = upscaler.upscale(frame.to_ndarray(format="rgb24"))
    pixels = pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2]
    result = VideoFrame.from_ndarray(pixels, format="rgb24")
    result = result.reformat(format="yuv420p", dst_colorspace=frame.colorspace, dst_color_range=frame.color_range)
    result.pts, result.time_base = frame.pts, frame.time_base
    return result


def upscale_video(source: Path, target: Path, upscaler: pysr.Upscaler) -> int:
    """Upscale a video file; return the number of its frames."""
    frames = 0
    with av.open(source) as movie, av.open(target, "w") as copy:
        images = movie.streams.video[0]
        encoder: VideoStream = copy.add_stream("libx264", rate=images.average_rate, options={"crf": "18"})
        encoder.pix_fmt = "yuv420p"
        encoder.codec_context.colorspace = images.codec_context.colorspace
        encoder.codec_context.color_range = images.codec_context.color_range
        encoder.width = int(images.width * upscaler.scale) // 2 * 2
        encoder.height = int(images.height * upscaler.scale) // 2 * 2
        encoder.time_base = images.time_base
        sounds = {sound: copy.add_stream_from_template(sound) for sound in movie.streams.audio}
        for packet in movie.demux(images, *sounds):
            if packet.stream in sounds and packet.dts is not None:
                packet.stream = sounds[packet.stream]
                copy.mux(packet)
            elif packet.stream is images:
                for frame in packet.decode():
                    copy.mux(encoder.encode(enlarged(frame, upscaler)))
                    frames += 1
        copy.mux(encoder.encode())  # what the encoder has kept back
    return frames


def main() -> None:
    parser = argparse.ArgumentParser(description="Upscale a video.")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--model", default="vdsr")
    parser.add_argument("--scale", type=int, default=2)
    options = parser.parse_args()
    frames = upscale_video(options.source, options.target, pysr.load(options.model, options.scale))
    print(f"{options.target}: {frames} frames")


if __name__ == "__main__":
    main()
