"""ISA-L's igzip, many times as fast as zlib, made to give the same bytes every time."""

from __future__ import annotations

import zlib

_FIRST = 16  # bytes: as many as the way for short inputs takes whole


def quickly_deflated(data: memoryview, wbits: int, flush: int = zlib.Z_FINISH) -> bytes:
    """Compress at level 1; the same data give the same bytes in every thread and process.

    Those of igzip itself depend on an address: it enters a stream's third byte into its table at the hash of a register
    that it has not set (igzip_icf_body_h1_gr_bt.asm of ISA-L 2.32, ``.write_first_byte``), and where that hits the
    place of another byte, a repetition of that one is not found. A first block of a few bytes goes another way.

    Args:
        data: Contiguous bytes.
        wbits: As for `zlib.compressobj`.
        flush: How the stream ends, as for its ``flush``.
    """
    from isal import isal_zlib  # of the extra "files"

    compressor = isal_zlib.compressobj(1, zlib.DEFLATED, wbits)
    start = compressor.compress(data[:_FIRST]) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return start + compressor.compress(data[_FIRST:]) + compressor.flush(flush)
