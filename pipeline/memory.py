"""Nothing in; the memory that this process had at most out."""

import resource
import sys
from pathlib import Path


def peak() -> int:
    """Bytes, by VmHWM where there is one: ru_maxrss a process takes over from the one that started it."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
