"""The header of a JPEG file, read in a few microseconds: may a fast decoder have the file, and how is the camera held?

A fast decoder gets a file only where it is known to give what Pillow gives: ITU-T T.81 baseline or progressive, Huffman coded, 8 bits,
grey or YCbCr. All else that libjpeg or a vendor allows, and all that Pillow's own reader of headers refuses, is left to Pillow.
"""

from __future__ import annotations

from PIL import Image

START = b'\xff\xd8\xff'
# Second bytes of markers.
FRAMES = (0xC0, 0xC2)  # baseline, progressive
SCAN = 0xDA
SKIPPED = frozenset((0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)))  # tables, restart interval, comment, APP0 to APP15
JFIF, EXIF_OR_XMP, ICC_OR_MPF, PHOTOSHOP, ADOBE = 0xE0, 0xE1, 0xE2, 0xED, 0xEE
YCBCR_BY_ADOBE = 1  # the "transform" of its segment
ORIENTATION = 0x0112  # the EXIF tag
UNKNOWN_ORIENTATION = 0


def orientation_if_plain(data: bytes) -> int | None:
    """How the camera was held, of a JPEG file that a fast decoder may have; None: leave the file to Pillow.

    Returns:
        1 to 8 as in EXIF, 1 where the file says nothing; 0 where only Pillow can tell.
    """
    if data[:3] != START:
        return None
    place, orientation, adobe, jfif = 2, 1, -1, False
    frame: bytes | None = None
    while True:
        if place + 4 > len(data) or data[place] != 0xFF:
            return None
        marker, begin = data[place + 1], place + 4
        end = place + 2 + (data[place + 2] << 8 | data[place + 3])
        if end < begin or end > len(data):
            return None
        if marker == SCAN:
            return orientation if frame is not None and _plain(frame, adobe, jfif) else None
        if marker in FRAMES and frame is None:
            frame = data[begin:end]
        elif marker not in SKIPPED:
            return None
        elif marker == EXIF_OR_XMP:
            orientation = _orientation(data, begin, end, orientation)
        elif marker == ADOBE and data.startswith(b'Adobe', begin):
            if end - begin < 12:
                return None
            adobe = data[begin + 11]
        elif marker == JFIF and data.startswith(b'JFIF', begin):
            jfif = True
            if end - begin < 7:
                return None
        elif marker in (ICC_OR_MPF, PHOTOSHOP) and not _harmless(data, marker, begin, end):
            return None
        place = end


def _plain(frame: bytes, adobe: int, jfif: bool) -> bool:
    """True for 8 bits, with one component or with three that libjpeg takes for YCbCr, of a size that Pillow opens without a word."""
    if len(frame) < 6 or frame[0] != 8 or frame[5] not in (1, 3) or len(frame) != 6 + 3 * frame[5]:
        return False
    height, width = frame[1] << 8 | frame[2], frame[3] << 8 | frame[4]
    if not height or not width or height * width > (Image.MAX_IMAGE_PIXELS or height * width):
        return False
    if frame[5] == 1:
        return True
    return adobe == YCBCR_BY_ADOBE or (adobe < 0 and (jfif or frame[6::3] == b'\x01\x02\x03'))


def _harmless(data: bytes, marker: int, begin: int, end: int) -> bool:
    """False for a segment that Pillow reads itself and that may lead it elsewhere: to one frame of several, or to an error."""
    if marker == ICC_OR_MPF:
        return not data.startswith(b'MPF\0', begin) and not (
            data.startswith(b'ICC_PROFILE\0', begin) and end - begin < 14
        )
    return not data.startswith(b'8BIM', end - 6)  # a block of Photoshop's that ends before its name


def _orientation(data: bytes, begin: int, end: int, known: int) -> int:
    """Orientation in an EXIF or XMP segment of a JPEG file, `known` where it says none."""
    if known not in (1, UNKNOWN_ORIENTATION):
        return known
    if not data.startswith(b'Exif\0\0', begin):
        return UNKNOWN_ORIENTATION if data.find(b'tiff:Orientation', begin, end) >= 0 else known
    tiff = data[begin + 6 : end]
    order = {b'II*\0': 'little', b'MM\0*': 'big'}.get(tiff[:4])
    if order is None:
        return UNKNOWN_ORIENTATION

    def number(place: int, size: int) -> int:
        return int.from_bytes(tiff[place : place + size], order)  # type: ignore[arg-type]

    first = number(4, 4)
    for entry in range(first + 2, min(first + 2 + 12 * number(first, 2), len(tiff) - 11), 12):
        if number(entry, 2) == ORIENTATION:
            short = number(entry + 2, 2) == 3 and number(entry + 4, 4) == 1
            value = number(entry + 8, 2)
            return value if short and 1 <= value <= 8 else UNKNOWN_ORIENTATION
    return known
