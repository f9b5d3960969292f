"""Where published data sets are fetched from, and what their files must be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from jaxport.errors import UsageError


@dataclass(frozen=True)
class Source:
    """A published file. url: where it is. size: in bytes. sha256: of its bytes, in hexadecimal. file: its name."""

    url: str
    size: int
    sha256: str
    file: str


# tensorflow-datasets 4.9.10's rows (url_checksums/*.txt, datasets/imdb_reviews/checksums.tsv), for those who have not
# installed it; where it is installed, its own tables are read. Below a name and where its files are, each file.
KNOWN = """
mnist https://storage.googleapis.com/cvdf-datasets/mnist/
train-images-idx3-ubyte.gz 9912422 440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609
train-labels-idx1-ubyte.gz 28881 3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c
t10k-images-idx3-ubyte.gz 1648877 8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6
t10k-labels-idx1-ubyte.gz 4542 f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6
fashion_mnist http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/
train-images-idx3-ubyte.gz 26421880 3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84
train-labels-idx1-ubyte.gz 29515 a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845
t10k-images-idx3-ubyte.gz 4422102 346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073
t10k-labels-idx1-ubyte.gz 5148 67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5
cifar10 https://www.cs.toronto.edu/~kriz/
cifar-10-binary.tar.gz 170052171 c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd
imdb http://ai.stanford.edu/~amaas/data/sentiment/
aclImdb_v1.tar.gz 84125825 c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe
"""
TABLES = {"imdb": "datasets/imdb_reviews/checksums.tsv"}  # others: url_checksums/NAME.txt
UNPACKED = {"imdb": "aclImdb"}  # archive → the folder in it that is read


def _known() -> dict[str, tuple[Source, ...]]:
    found: dict[str, tuple[Source, ...]] = {}
    name = root = ""
    for line in KNOWN.split("\n")[1:-1]:
        match line.split(" "):
            case [name, root]:
                found[name] = ()
            case [file, size, sha256]:
                found[name] += (Source(root + file, int(size), sha256, file),)
    return found


SOURCES = _known()


def sources(name: str) -> tuple[Source, ...]:
    """Return the files of data set `name`, by tensorflow-datasets' own table if it is installed.

    Raises:
        UsageError: no published files of `name` are known.
    """
    if name not in SOURCES:
        raise UsageError(f"name is {name!r}; the data sets that can be fetched are {', '.join(SOURCES)}")
    known = {source.file: source for source in SOURCES[name]}
    known.update((source.file, source) for source in _tensorflow_datasets(name) if source.file in known)
    return tuple(known.values())


def _tensorflow_datasets(name: str) -> list[Source]:
    """Read the table of an installed tensorflow-datasets, without importing it; none of it if it is not there."""
    spec = find_spec("tensorflow_datasets")
    for root in (spec.submodule_search_locations or ()) if spec else ():
        table = Path(root) / TABLES.get(name, f"url_checksums/{name}.txt")
        if table.is_file():
            return parse_table(table.read_text(encoding="utf-8"))
    return []


def parse_table(text: str) -> list[Source]:
    """Read lines of address, size, sha256 and, perhaps, file name, which tabs separate; others are left out."""
    rows = []
    for line in text.splitlines():
        url, size, sha256, *file = [*line.split("\t"), "", "", ""]
        if re.fullmatch(r"https?://\S+", url) and re.fullmatch(r"\d+", size) and re.fullmatch(r"[0-9a-f]{64}", sha256):
            rows.append(Source(url, int(size), sha256, file[0] or url.rpartition("/")[2]))
    return rows
