"""Another tool that is asked for permission at every open in a folder, and always gives it.

    python fanotify.py FOLDER

`count` on standard input answers with the number of opens so far.
"""

import ctypes
import os
import select
import struct
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
CLASS_CONTENT, CLOEXEC = 0x4, 0x1
MARK_ADD, OPEN_PERM, ON_CHILD = 0x1, 0x10000, 0x08000000
HERE = -100
ALLOW = 1


def done(result, what):
    if result < 0:
        sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


group = done(LIBC.fanotify_init(CLASS_CONTENT | CLOEXEC, os.O_RDONLY), "fanotify_init")
done(
    LIBC.fanotify_mark(group, MARK_ADD, ctypes.c_uint64(OPEN_PERM | ON_CHILD), HERE,
                       sys.argv[1].encode()),
    "fanotify_mark",
)
print("ready", flush=True)
seen = 0
while True:
    ready, _, _ = select.select([group, sys.stdin], [], [])
    if group in ready:
        events = os.read(group, 4096)
        while events:
            length, _, _, _, _, file, _ = struct.unpack_from("<IBBHQii", events)
            os.write(group, struct.pack("<iI", file, ALLOW))
            os.close(file)
            seen += 1
            events = events[length:]
    elif sys.stdin in ready:
        if not sys.stdin.readline():
            break
        print(seen, flush=True)
