"""Read raw files without an engine: every physical record becomes a row or a reject with its reason and line."""

from wfengine_layers.raw.files import discover, fingerprint
from wfengine_layers.raw.read import check_files, read_file
from wfengine_layers.raw.source import FileOutcome, RawFile, RawSource, raw_source

__all__ = ["FileOutcome", "RawFile", "RawSource", "check_files", "discover", "fingerprint", "raw_source", "read_file"]
