"""`read_log`: a log from a file, a folder, a table in memory or a database, as one frame."""

import codecs
import csv
import gzip
import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv as pacsv
from pyarrow import dataset, ipc

from causal_lib.extras import naming_extra
from causal_lib.reasons import Reason
from causal_lib.studies.errors import LogError

_SEPARATORS = ",;\t|"
_SAMPLE = 65_536  # bytes from which encoding and separator are guessed
_TEXT = (".csv", ".tsv", ".txt")
_ARROW = (".arrow", ".feather", ".ipc")
_SQLITE = (".sqlite", ".sqlite3", ".db")
_DUCKDB = (".duckdb", ".ddb")
_MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A", "\\N")
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*$', re.IGNORECASE)  # Excel's own first line
_QUERY = re.compile(r"\s*(select|with)[\s*(]", re.IGNORECASE)
_VECTORS = 25  # of 2,048 rows, which DuckDB gives at a time
_CODECS = {"utf-8-sig": "utf-8"}  # Arrow itself takes a byte order mark away
_PAIRED = 0.9  # share of high bytes in pairs from which on a text is taken for Chinese


@dataclass(frozen=True, eq=False)
class Log:
    """A log as it was read: ``frame``, the ``source`` in words, ``notes`` on what was guessed."""

    frame: pd.DataFrame
    source: str
    notes: tuple[Reason, ...] = ()


def read_log(
    source: pd.DataFrame | str | Path,
    *,
    columns: Sequence[str] | None = None,
    missing: Sequence[str] = (),
    encoding: str = "",
    separator: str = "",
) -> Log:
    """The log that ``source`` names, one row per unit and time.

    Parameters
    ----------
    source : a frame or an Arrow table (or what can be read as one); a CSV file (.csv, .tsv, .txt,
        each also .gz), a Parquet file or a folder of its parts, an Arrow (Feather) file;
        ``file.sqlite#table`` or ``file.duckdb#table``; at the database of the environment variable
        CAUSAL_LIB_DB, ``table:name``. A query that begins with SELECT may stand for the table. A
        database is read in parts, and only ``columns`` of it are kept.
    columns : the columns that are needed; all where left out. Others are not read. Those of a CSV
        file come as texts, read by `prepare` as what they mean.
    missing : further spellings of a missing value, beside those of the source: of a CSV file the
        empty cell, NA and NULL. A number or a date that is spelled so is missing too.
    encoding, separator : of a CSV file; guessed where empty, and said in ``notes``.

    Raises
    ------
    LogError
        for a source that is absent, empty or cannot be read, a column that it lacks, or columns of
        one name.
    """
    if isinstance(source, pd.DataFrame):
        found = Log(source, "a frame")
    elif hasattr(source, "__arrow_c_stream__"):
        found = Log(_selected(pa.table(source), columns), "an Arrow table")
    elif isinstance(source, (str, Path)):
        found = _named(str(source), columns, tuple(missing), encoding, separator)
    else:
        raise LogError(
            f"log: a path, a frame or an Arrow table is needed, not {type(source).__name__}"
        )
    frame = _without_missing(_checked(found.frame, columns), tuple(missing))
    return Log(frame, found.source, found.notes)


def _named(text, columns, missing, encoding, separator):
    """The log that a path, a query or a table's name stands for."""
    if _QUERY.match(text) or text.startswith("table:"):
        return _database(text, columns)
    path, _, table = text.partition("#")
    if _exists(text):
        path = text
        table = ""
    path = Path(path)
    if not _exists(path):
        raise LogError(
            f"log: no file or folder {str(path)!r}; a query begins with SELECT, a table at "
            "CAUSAL_LIB_DB is written table:name"
        )
    suffixes = [suffix.lower() for suffix in path.suffixes]
    last = suffixes[-1] if suffixes else ""
    inner = suffixes[-2] if last == ".gz" and len(suffixes) > 1 else last
    try:
        if path.is_dir():
            return _parquet_folder(path, columns)
        if last == ".parquet":
            return Log(_parquet(pq.ParquetFile(path).schema_arrow, path, columns), path.name)
        if last in _ARROW:
            return Log(_selected(_arrow(path), columns), path.name)
        if inner in _TEXT:
            return _csv(path, columns, missing, encoding, separator)
        if last in (*_SQLITE, *_DUCKDB):
            return _file_of_tables(path, table, columns, _sqlite if last in _SQLITE else _duckdb)
    except (OSError, pa.ArrowException, EOFError) as error:
        raise LogError(f"log: {path.name} cannot be read: {_first_line(error)}") from None
    raise LogError(
        f"log: {path.name}: files of kind {last or '(none)'} are not read; give .csv, .csv.gz, "
        ".tsv, .parquet, .feather, file.sqlite#table or file.duckdb#table"
    )


def _exists(path):
    try:
        return Path(path).exists()
    except OSError:  # a name that is too long for one
        return False


def _checked(frame, columns):
    """``frame`` with texts for names, each once, and the ``columns`` that are needed."""
    if frame.columns.nlevels > 1:
        raise LogError("log: columns have several levels of names; give each column one name")
    if strange := [name for name in frame.columns if not isinstance(name, str)]:
        raise LogError(
            f"log: {len(strange)} names of columns are no text, first {strange[0]!r}; is there a "
            "header? rename them by frame.rename(columns=str)"
        )
    if blank := [name for name in frame.columns if not name.strip()]:
        raise LogError(f"log: {len(blank)} columns have no name; name them in the header")
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise LogError(
            f"log: {int((frame.columns == repeated[0]).sum())} columns are named "
            f"{repeated[0]!r}; rename one"
        )
    if columns is not None:
        absent = [name for name in columns if name not in frame.columns]
        if absent:
            raise LogError(
                f"log: no column {', '.join(map(repr, absent))}; columns there: "
                f"{', '.join(map(repr, frame.columns))}"
            )
        frame = frame[list(columns)]
    if not len(frame):
        raise LogError("log: it has no rows")
    return frame


def _without_missing(frame, missing):
    """``frame`` with nothing in place of values that ``missing`` spells."""
    if not missing:
        return frame
    numbers = pd.to_numeric(pd.Series(missing), errors="coerce").dropna()
    dates = pd.to_datetime(pd.Series(missing), errors="coerce", format="ISO8601").dropna()
    found = {}
    for name in frame.columns:
        values = frame[name]
        kind = values.dtype.kind
        if kind in "iuf":
            lost = values.isin(numbers)
        elif kind == "M":
            plain = values.dt.tz_localize(None) if values.dt.tz is not None else values
            lost = plain.isin(dates)
        elif kind == "b":
            continue
        else:
            spelled = values.astype(str).str.replace(r"\.0+$", "", regex=True)
            lost = values.notna() & (values.isin(missing) | spelled.isin(missing))
        if lost.any():
            # whole numbers stay whole: an id above 2^53 is no float
            whole = values.dtype in ("int64", "uint64")
            found[name] = (values.convert_dtypes() if whole else values).mask(lost)
    return frame.assign(**found)


# ---- text ----------------------------------------------------------------------------------------


def _csv(path, columns, missing, encoding, separator):
    with open(path, "rb") as file:
        start = file.read(4)
    if start == b"PK\x03\x04":
        raise LogError(f"log: {path.name} is a zip archive (or a workbook); unpack it to .csv")
    packed = start.startswith(b"\x1f\x8b")  # whatever the name says
    opened = gzip.open if packed else open
    with opened(path, "rb") as file:
        head = file.read(_SAMPLE)
    if not head.strip():
        raise LogError(f"log: {path.name} is empty")
    notes = []
    if not encoding:
        encoding = guess_encoding(head, whole=len(head) < _SAMPLE)
        if encoding not in ("utf-8", "utf-8-sig"):
            notes.append(Reason("encoding", file=path.name, encoding=encoding))
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise LogError(
            f"roles: unknown encoding {encoding!r}; write utf-8, gb18030, cp1252 ..."
        ) from None
    try:
        text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(head)
    except UnicodeError as error:
        raise LogError(
            f"log: {path.name} is no {encoding}: {error}; name another encoding"
        ) from None
    lines = text.lstrip("\ufeff").splitlines()
    above = next(place for place, line in enumerate(lines) if line.strip())
    if named := _SEPARATOR_LINE.match(lines[above]):
        separator = separator or named[1]
        above += 1
    text = "\n".join(lines[above:])
    if not separator:
        separator = guess_separator(text)
        if separator not in (",", "\t"):
            notes.append(Reason("separator", file=path.name, separator=separator))
    header = next(csv.reader(io.StringIO(text), delimiter=separator), [])
    if len(header) < 2:
        raise LogError(
            f"log: {path.name} has one column when read with the separator {separator!r}; name "
            "the right one by separator = in the roles, or with --guess by -p separator="
        )
    if blank := sum(not name.strip() for name in header):
        notes.append(Reason("unnamed_columns", file=path.name, columns=blank))
    header = [name for name in header if name.strip()]
    wanted = None if columns is None else [name for name in columns if name in header]
    if repeated := [name for name in header if header.count(name) > 1]:
        raise LogError(
            f"log: {header.count(repeated[0])} columns are named {repeated[0]!r}; rename one (is "
            "the first line a header?)"
        )
    if wanted is not None and len(wanted) < len(columns):
        absent = [name for name in columns if name not in header]
        raise LogError(
            f"log: no column {', '.join(map(repr, absent))}; columns there: "
            f"{', '.join(map(repr, header))}; is the first line the header, and the separator "
            f"{separator!r}?"
        )
    try:
        frame = _texts(path, wanted or header, missing, encoding, separator, packed, above)
    except UnicodeError:
        raise LogError(
            f"log: {path.name} is no {encoding}; name its encoding by "
            'encoding = in the roles, as "gb18030" or "cp1252"'
        ) from None
    except pa.ArrowInvalid as error:
        if "UTF8" in str(error):
            raise LogError(
                f"log: {path.name} is no {encoding}; name its "
                'encoding by encoding = in the roles, as "gb18030" or "cp1252"'
            ) from None
        raise LogError(
            f"log: {path.name} is no table: {_first_line(error)[:200]}; a text that holds the "
            "separator stands in quotes"
        ) from None
    return Log(frame, path.name, tuple(notes))


def _texts(path, columns, missing, encoding, separator, packed, above):
    """The ``columns`` of a CSV file as texts: what they mean is read later, by one rule for all.

    Arrow refuses a row of another length; pandas drops what is too much without a word.
    """
    convert = pacsv.ConvertOptions(
        column_types={name: pa.string() for name in columns},
        include_columns=list(columns),
        null_values=[*_MISSING, *missing],
        strings_can_be_null=True,
    )
    with pa.input_stream(str(path), compression="gzip" if packed else None) as file:
        table = pacsv.read_csv(
            file,
            read_options=pacsv.ReadOptions(
                encoding=_CODECS.get(encoding, encoding), skip_rows=above
            ),
            parse_options=pacsv.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=convert,
        )
    return table.to_pandas()


def guess_encoding(head: bytes, *, whole: bool = True) -> str:
    """The likely encoding of the first bytes of a text; ``whole`` if they are all of it.

    A byte order mark decides; else UTF-16 where many bytes are 0; else UTF-8 where the bytes are
    that; else GB 18030 where bytes above 127 come in pairs, as those of Chinese do, else Windows'
    Western code page.

    >>> guess_encoding("价格,城市".encode("gb18030"))
    'gb18030'
    >>> guess_encoding("prix,région".encode("cp1252"))
    'cp1252'
    """
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if head.startswith(mark):
            return name
    zeros = [head[start::2].count(0) for start in (0, 1)]
    if sum(zeros) > len(head) / 8:  # every sign of two bytes
        return "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head, final=whole)
        return "utf-8"
    except UnicodeDecodeError:
        pass
    high = len(re.findall(rb"[\x80-\xff]", head))
    paired = 2 * len(re.findall(rb"[\xa1-\xfe][\xa1-\xfe]", head))
    return "gb18030" if paired >= _PAIRED * high else "cp1252"


def guess_separator(text: str) -> str:
    """The separator that cuts the first lines of ``text`` into most cells of one number.

    >>> guess_separator("a;b\\n1,5;2\\n")
    ';'
    """
    lines = [line for line in text.splitlines()[:20] if line.strip()]
    best = ","
    most = 1
    for separator in _SEPARATORS:
        cells = [
            len(row) for row in csv.reader(lines[: max(1, len(lines) - 1)], delimiter=separator)
        ]
        if cells and cells[0] > most and cells.count(cells[0]) >= 0.9 * len(cells):
            best = separator
            most = cells[0]
    return best


# ---- columnar files ------------------------------------------------------------------------------


def _selected(table, columns):
    """The frame of an Arrow table: only ``columns`` where it has them all."""
    narrow = columns is not None and set(columns) <= set(table.column_names)
    return (table.select(list(columns)) if narrow else table).to_pandas()


def _arrow(path):
    with pa.memory_map(str(path)) as file:
        try:
            return ipc.open_file(file).read_all()
        except pa.ArrowInvalid:
            file.seek(0)
            return ipc.open_stream(file).read_all()


def _parquet(schema, path, columns):
    wanted = None if columns is None else [name for name in columns if name in schema.names]
    if wanted is not None and len(wanted) < len(columns):
        wanted = None  # all of them, so that the error can list what is there
    return pq.read_table(path, columns=wanted).to_pandas()


def _parquet_folder(path, columns):
    """The parts below a folder; a subfolder ``name=value`` gives the column ``name``."""
    parts = [
        part
        for part in sorted(path.rglob("*.parquet"))
        # what is being written, or was left behind
        if not any(name.startswith((".", "_")) for name in part.relative_to(path).parts)
    ]
    if not parts:
        raise LogError(f"log: folder {path.name!r} holds no .parquet files")
    first = set(pq.read_schema(parts[0]).names)
    for part in parts[1:]:
        if differing := first ^ set(pq.read_schema(part).names):
            raise LogError(
                f"log: parts {parts[0].name} and {part.name} of {path.name} do not have the same "
                f"columns: {', '.join(map(repr, sorted(differing)))} is in one of them only"
            )
    found = dataset.dataset(
        [str(part) for part in parts],
        format="parquet",
        partitioning="hive",
        partition_base_dir=str(path),
    )
    names = found.schema.names
    wanted = columns if columns is not None and set(columns) <= set(names) else None
    frame = found.to_table(columns=None if wanted is None else list(wanted)).to_pandas()
    return Log(frame, f"{path.name}, {len(parts)} parts")


# ---- databases -----------------------------------------------------------------------------------


def _database(text, columns):
    """A query or ``table:name`` at CAUSAL_LIB_DB."""
    url = os.environ.get("CAUSAL_LIB_DB")
    if not url:
        raise LogError(
            "log: a query or table: needs the database's URL in the environment variable "
            "CAUSAL_LIB_DB (mysql+pymysql://user:password@host:port/database or sqlite:///file)"
        )
    return Log(_queried(url, text.removeprefix("table:"), columns), _shown_query(text))


def _file_of_tables(path, asked, columns, read):
    """A table or query of a file that holds a database."""
    if not asked:
        raise LogError(f"log: {path.name} is a database; write {path.name}#table")
    return Log(read(path, asked, columns), _shown_query(f"{path.name}#{asked}"))


def _sqlite(path, asked, columns):
    return _queried(f"sqlite:///{path}", asked, columns)


def _queried(url, asked, columns):
    """The frame of a query or a table, read in parts."""
    from causal_lib.data.store import StoreError, read_query

    what = {"query": asked} if _QUERY.match(asked) else {"table": asked}
    try:
        return pd.concat(list(read_query(url, **what, columns=columns)), ignore_index=True)
    except StoreError as error:
        raise LogError(f"log: {error}") from None


def _duckdb(path, asked, columns):
    """The frame of a query or a table of a DuckDB file, read in parts."""
    try:
        with naming_extra():
            import duckdb
    except ModuleNotFoundError as error:
        raise LogError(f"log: {path.name}: {error}") from None
    query = asked if _QUERY.match(asked) else f"SELECT * FROM {_name_in_sql(asked)}"
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            head = connection.execute(f"SELECT * FROM ({query}) LIMIT 0")
            names = [column[0] for column in head.description]
            if columns is not None and set(columns) <= set(names):
                query = f"SELECT {', '.join(map(_name_in_sql, columns))} FROM ({query})"
            found = connection.execute(query)
            parts = [found.fetch_df_chunk(_VECTORS)]
            while len(parts[-1]):
                parts.append(found.fetch_df_chunk(_VECTORS))
    except duckdb.Error as error:
        raise LogError(f"log: {path.name}: {_first_line(error)}") from None
    return pd.concat(parts[:-1] or parts, ignore_index=True)


def _name_in_sql(name):
    return '"' + name.replace('"', '""') + '"'


def _shown_query(text):
    return text if len(text) <= 80 else f"{text[:77]}..."


def _first_line(error):
    return (str(error) or type(error).__name__).splitlines()[0]
