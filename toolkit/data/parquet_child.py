"""Runs in a process of its own: reads the pictures and labels of a Parquet file, and says what is
wrong with it.

A file of kilobytes can stand for terabytes: a value is stored once, and repeated by its number.
Standard library and pyarrow only. Usage: python -I parquet_child.py FILE SECONDS MEMORY IMAGES
LABELS ROWS BYTES: of processor time; in bytes; the two columns; how many rows are read at a time,
and how many bytes they may hold. Prints a JSON text: null for a file that can be read, or else the
reason.
"""

import json
import resource
import sys

import pyarrow
import pyarrow.parquet

LABELS_LIMIT = 1_000_000  # bytes of the labels that are read at a time
REASON_LENGTH = 200  # characters of an error that are passed on


def find_fault(path: str, images: str, labels: str, rows: int, limit: int) -> str | None:
    """Why these columns of the file at `path` cannot be read `rows` at a time, or None. limit:
    bytes that those may hold."""
    try:
        # One piece of a column after the other, as the conversion reads.
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=1_000_000) as file:
            for batch in file.iter_batches(rows, columns=[images, labels], use_threads=False):
                if batch.nbytes > limit:
                    return f"{rows} rows of it take more than {limit / 1e6:g} MB"
                if batch.column(labels).nbytes > LABELS_LIMIT:
                    return f"the values of {labels} are too long for names of classes"
    except MemoryError:
        return f"{rows} rows of it take more memory than there is for them"
    # Whatever a damaged file makes the library raise.
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def main() -> None:
    path, seconds, memory, images, labels, rows, limit = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds)))
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    fault = find_fault(path, images, labels, int(rows), int(limit))
    json.dump(fault and fault[:REASON_LENGTH], sys.stdout)


if __name__ == "__main__":
    main()
