"""The fastest compressor, made to give the same bytes every time."""

import threading
import zlib

import numpy as np
import pytest

pytest.importorskip("isal")

from pysr.files.igzip import quickly_deflated

THREADS = 400  # igzip itself gives other bytes in one of a hundred
ROOM = 2**19  # bytes of a thread's stack: igzip's state takes a fifth


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 40, 5000, 700_000])
@pytest.mark.parametrize("wbits", [zlib.MAX_WBITS, -zlib.MAX_WBITS])
def test_what_is_compressed_comes_back(size: int, wbits: int) -> None:
    data = np.random.default_rng(size).integers(0, 4, size, dtype=np.uint8).data
    assert zlib.decompress(quickly_deflated(data, wbits), wbits) == data
    part = quickly_deflated(data, wbits, zlib.Z_SYNC_FLUSH)
    assert zlib.decompressobj(wbits).decompress(part) == data


def test_every_thread_gets_the_same_bytes() -> None:
    data = memoryview(b"abcdefgh" * 5)
    together, found = threading.Barrier(THREADS), set()

    def compress() -> None:
        together.wait()  # all stacks are in use, so each is at another address
        found.add(quickly_deflated(data, zlib.MAX_WBITS))

    before = threading.stack_size(ROOM)
    try:
        threads = [threading.Thread(target=compress) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
    finally:
        threading.stack_size(before)
    for thread in threads:
        thread.join()
    assert len(found) == 1
