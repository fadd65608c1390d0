"""Runs command lines in children of one process, each within a gigabyte and a time of its own."""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

MEMORY = 1 << 30
COMMANDS = (
    *("planform.api.model", "planform.cli.app", "planform.compiler.cost", "planform.compiler.drawing.draw"),
    *("planform.compiler.sizes.algebra", "planform.dsl.claims", "planform.dsl.format", "planform.dsl.render"),
)


def run(arguments: list[str], seconds: int, memory: int = MEMORY) -> dict[str, Any]:
    """One command line in a child: exit code (negative: the signal), CPU seconds, and what it wrote."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    with tempfile.TemporaryFile() as out:
        sys.stdout.flush()
        child = os.fork()
        if not child:
            code = 99
            try:
                limit = pages * os.sysconf("SC_PAGE_SIZE") + memory
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
                resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                os.dup2(out.fileno(), 1)
                os.dup2(out.fileno(), 2)
                from planform.cli.app import run as run_line

                code = run_line(arguments)
                sys.stderr.flush()
            finally:
                os._exit(code)
        _, status, used = os.wait4(child, 0)
        out.seek(0)
        text = out.read(1 << 20).decode("utf-8", "replace")
    return {
        "code": os.waitstatus_to_exitcode(status),
        "seconds": used.ru_utime + used.ru_stime,
        "megabytes": used.ru_maxrss >> 10,
        "text": text,
    }


def main() -> None:
    """Reads requests `{"arguments": [...], "seconds": n}`, one a line, and answers each on a line."""
    # Imported here, so that no child does it in its own time.
    for name in (*COMMANDS, *json.loads(sys.argv[1])):
        import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(run(request["arguments"], request["seconds"])), flush=True)


if __name__ == "__main__":
    time.tzset()
    main()
