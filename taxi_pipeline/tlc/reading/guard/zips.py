"""What of a published zip is read: its files into memory, by their endings, and not too much.

Nothing is unpacked to the disk, so no name in a zip leads anywhere.
"""

import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.text import printable

# TLC's has 1 MB, and what is read of it 2; a point of a shape takes ten times its bytes in memory
ZIP_BYTES = 16 << 20
UNZIPPED_BYTES = 16 << 20

_ENCRYPTED = 1  # a bit of a file's flags
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others may ask for gigabytes of memory


def read_zip(path: Path, endings: Collection[str]) -> dict[str, bytes]:
    """Return the files of a zip that have these endings, by the ending.

    Args:
        path: The zip.
        endings: The endings in lower case, with their dots; the case of those in the zip does not
            count.

    Raises:
        PermanentError: It is no zip, is broken or encrypted, has several files of an ending, or has
            more than `ZIP_BYTES`, or unpacks to more than `UNZIPPED_BYTES`.
    """
    size = path.stat().st_size
    if size > ZIP_BYTES:
        raise _refused(path, f"it has {size:,} bytes, and at most {ZIP_BYTES:,} are read")
    files: dict[str, bytes] = {}
    with _opened(path) as archive:
        for item in archive.infolist():
            name = PurePosixPath(item.filename).name
            ending = PurePosixPath(name).suffix.lower()
            if ending not in endings or name.startswith("._"):  # which a Mac adds
                continue
            if ending in files:
                raise _refused(path, f"it has more than one file whose name ends in {ending}")
            if item.flag_bits & _ENCRYPTED or item.compress_type not in _METHODS:
                raise _refused(path, f"{printable(name)} in it is encrypted, or packed oddly")
            left = UNZIPPED_BYTES - sum(map(len, files.values()))
            with archive.open(item) as file:
                files[ending] = file.read(left + 1)
            if len(files[ending]) > left:
                raise _refused(
                    path,
                    f"it unpacks to more than {UNZIPPED_BYTES:,} bytes, which are read at most",
                )
    return files


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    # of a zip that lies about itself there is no telling which
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
        raise _refused(path, f"it is no zip, or a broken one: {printable(str(error))}") from error


def _refused(path: Path, why: str) -> PermanentError:
    return PermanentError(f"{path.name}: {why}. Check what the publisher serves at its address.")
