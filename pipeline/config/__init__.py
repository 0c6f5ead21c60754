"""Graph files: read, check, bind to typed options, mend. Everything offline: nothing is opened besides the file."""

from __future__ import annotations

from pipeline.config import fix
from pipeline.config.loader import load, load_text

__all__ = ["fix", "load", "load_text"]
