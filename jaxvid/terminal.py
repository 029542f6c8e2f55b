"""What a person at a terminal sees: errors in one line, and nothing that a terminal would obey."""

import contextlib
import io
import logging
import sys
import traceback
from collections.abc import Iterator

from jaxvid import cluster
from jaxvid.typing import UserError, exit_code


def plain(text: str) -> str:
    """The text with what terminals obey, and what turns its direction, written as escapes.

    Names of files and captions are not ours: they may hold anything.
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class _Plain(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        return plain(super().formatMessage(record))


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Turns a UserError into its line on stderr and its exit code (2, unless it says another).

    What ends one of several processes ends it at once, or it would wait for the others.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Plain("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("jaxvid").setLevel(logging.INFO)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files need not be Unicode
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    except UserError as error:
        print(f"error: {plain(str(error))}", file=sys.stderr)
        cluster.abandon(error.code)
        raise SystemExit(error.code) from None
    except BrokenPipeError:
        cluster.abandon(141)
        raise SystemExit(141) from None
    except OSError as error:  # of the machine: a path that cannot be, a full disk, no permission
        name = "" if error.filename is None else f"{str(error.filename)[:200]}: "
        print(f"error: {plain(name)}{error.strerror or type(error).__name__}", file=sys.stderr)
        cluster.abandon(exit_code(error))
        raise SystemExit(exit_code(error)) from None
    except (Exception, KeyboardInterrupt) as error:
        if cluster.count() > 1:
            traceback.print_exc()
        cluster.abandon(130 if isinstance(error, KeyboardInterrupt) else 1)
        raise
