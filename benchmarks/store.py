"""How fast are pieces kept and found again, checksums and flushing to disk included?"""

import tempfile
import time

import numpy as np

from brainalign.store import Store, key_of

MB = 1_000_000


def seconds(function, *arguments):
    """How long one call takes."""
    began = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - began


def main():
    """Print one line per size of piece."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        for megabytes in (0.1, 10, 300):
            key, array = key_of(megabytes=megabytes), np.zeros(int(megabytes * MB / 4), "f4")
            kept, found = seconds(store.put, key, {"x": array}, {}), seconds(store.get, key)
            print(f"{megabytes:6g} MB: put {kept * 1e3:7.1f} ms, get {found * 1e3:7.1f} ms")


if __name__ == "__main__":
    main()
