"""Are the bytes of a checkpoint file those that were written? Check sums of torch's zip files, a digest in our safetensors.

`torch.save` writes an uncompressed zip with a CRC-32 for every record, which `torch.load` does not look at: a flipped bit in a tensor
is loaded without a word. Files in the format before torch 1.6 (no zip) hold no check sums, so in them such damage cannot be seen.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import CheckpointError

DIGEST = 'sha256'  # entry in the metadata of a safetensors file of ours
_BLOCK = 1 << 20  # bytes read at once: they stay in the processor's cache for the check sum
_LOCAL, _LOCAL_SIZE = b'PK\x03\x04', 30  # header before each record
_FOLDER = 0x10  # in the attributes of a record that is a folder, which torch takes for empty
_THREADS = 4
_UNPACKED = 1 << 30  # bytes that compressed records may grow to in any case; beyond, 100 times the file
AGAIN = 'Copy it again or use an earlier one.'


def check_sums(path: Path) -> None:
    """Compare every record of a file of `torch.save` with its check sum; each byte is read once, about 1 GB/s and core.

    A file that is no zip, and one written with `torch.serialization.set_crc32_options(False)`, has none: nothing is compared.

    Raises:
        CheckpointError: a record is not as it was written, or the table of records is damaged.
        OSError: the file cannot be read.
    """
    with open(path, 'rb') as file:
        if file.read(len(_LOCAL)) != _LOCAL:
            return
        try:
            with zipfile.ZipFile(file) as archive:
                problem = _first_problem(archive, file)
        except OSError as error:
            if error.errno is not None:
                raise
            problem = 'its table of records'
        except (zipfile.BadZipFile, NotImplementedError, ValueError, RuntimeError, struct.error, zlib.error, EOFError):
            problem = 'its table of records'  # what zipfile raises for damage
    if problem:
        raise CheckpointError(
            f'{path} ({path.stat().st_size:,} bytes) is cut off, damaged or was not written by torch.save: {problem} is '
            f'not as it was written. {AGAIN}'
        )


def _first_problem(archive: zipfile.ZipFile, file: BinaryIO) -> str:
    """What is damaged; '' where all is well."""
    records = archive.infolist()
    if len({record.filename for record in records}) != len(records) or not _counted(file, len(records)):
        return 'its table of records'
    packed = sum(record.file_size for record in records if record.compress_type != zipfile.ZIP_STORED)
    if packed > max(_UNPACKED, 100 * sum(record.compress_size for record in records)):
        return f'a record, which would unpack to {packed:,} bytes,'
    starts = [_start(file, record) for record in records]
    if None in starts or any(record.external_attr & _FOLDER for record in records):
        return 'its table of records'
    summed = any(record.CRC for record in records)

    def good(start: int, record: zipfile.ZipInfo) -> bool:
        if record.compress_type != zipfile.ZIP_STORED:
            return _unpacks(archive, record)
        return record.compress_size == record.file_size and _whole(file.fileno(), start, record, summed)

    with ThreadPoolExecutor(_THREADS) as pool:  # a CRC is computed outside Python's lock
        for record, whole in zip(records, pool.map(good, starts, records), strict=True):
            if not whole:
                return f'the record {record.filename!r}'
    return ''


def _counted(file: BinaryIO, number: int) -> bool:
    """Both ends of the table of records give their number; torch goes by it, zipfile by the size of the table."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 98))
    tail = file.read()
    end = tail[-22:]
    if end[:4] != b'PK\x05\x06':  # something is behind the end, which zipfile has skipped
        return True
    counts = {count for count in struct.unpack_from('<HH', end, 8) if count != 0xFFFF}
    if len(tail) == 98 and tail[:4] == b'PK\x06\x06':
        counts |= set(struct.unpack_from('<QQ', tail, 24))
    return counts <= {number}


def _start(file: BinaryIO, record: zipfile.ZipInfo) -> int | None:
    """Go to the first byte of a record; None where no header of its name stands before it."""
    file.seek(record.header_offset)
    header = file.read(_LOCAL_SIZE)
    if len(header) < _LOCAL_SIZE or header[:4] != _LOCAL:
        return None
    name, extra = struct.unpack_from('<HH', header, 26)
    if file.read(name) != record.orig_filename.encode('utf-8' if record.flag_bits & 0x800 else 'cp437'):
        return None
    return file.seek(extra, os.SEEK_CUR)


def _whole(handle: int, start: int, record: zipfile.ZipInfo, summed: bool) -> bool:
    """True where the bytes of `record` from `start` on are there, and have its check sum if there are such sums."""
    if not summed:
        return start + record.file_size <= os.fstat(handle).st_size
    crc, done, buffer = 0, 0, memoryview(bytearray(min(_BLOCK, record.file_size)))
    while done < record.file_size:
        number = os.preadv(handle, [buffer[: record.file_size - done]], start + done)
        if not number:
            return False
        crc, done = zlib.crc32(buffer[:number], crc), done + number
    return crc == record.CRC


def _unpacks(archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> bool:
    """True where a compressed record can be unpacked and has its check sum, which zipfile compares."""
    with archive.open(record) as content:
        return sum(map(len, iter(lambda: content.read(_BLOCK), b''))) == record.file_size


# ---- safetensors ----------------------------------------------------------------------------------------------------


def with_digest(content: bytes) -> bytes:
    """A safetensors file (as bytes) with a digest of itself in its metadata, which `check_digest` compares."""
    size = struct.unpack_from('<Q', content)[0]
    header, data = json.loads(content[8 : 8 + size]), memoryview(content)[8 + size :]
    digest = hashlib.sha256(_plain(header))
    digest.update(data)
    header['__metadata__'] = {**header.get('__metadata__', {}), DIGEST: digest.hexdigest()}
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)  # the data begin at a multiple of eight
    return b''.join((struct.pack('<Q', len(text)), text, data))


def check_digest(path: Path) -> None:
    """Compare a safetensors file with the digest in its metadata; one of other code has none.

    Raises:
        CheckpointError: they differ.
        OSError: the file cannot be read.
    """
    with open(path, 'rb') as file:
        header = _header(file)
        about = header.get('__metadata__') if isinstance(header, dict) else None
        if not isinstance(about, dict) or about.get(DIGEST) is None:
            return
        digest = hashlib.sha256(
            _plain({**header, '__metadata__': {key: value for key, value in about.items() if key != DIGEST}})
        )
        for block in iter(lambda: file.read(_BLOCK), b''):
            digest.update(block)
    if digest.hexdigest() != about[DIGEST]:
        raise CheckpointError(
            f'{path} ({path.stat().st_size:,} bytes) is damaged: its bytes are not those that were written. {AGAIN}'
        )


def _header(file: BinaryIO) -> Any:
    """The header at the beginning of a safetensors file; None where there is none, which the library says better."""
    size = file.read(8)
    length = struct.unpack('<Q', size)[0] if len(size) == 8 else 0
    if not 0 < length <= os.fstat(file.fileno()).st_size:
        return None
    try:
        return json.loads(file.read(length))
    except (ValueError, RecursionError):
        return None


def _plain(header: dict) -> bytes:
    """A header as bytes that do not depend on the order of its entries or on spaces."""
    return json.dumps(header, sort_keys=True, separators=(',', ':')).encode()
