"""Another tool's eBPF program, loaded with bare system calls and without any library.

    python bpf.py KIND [CGROUP]

KIND is one of
  connect     on the cgroup's IPv4 connects, attached by a link beside others
  address     on the cgroup's outgoing packets, attached as service managers do for IPAddressDeny=
  lsm         on every file that is opened
  tracepoint  on the end of every system call

Each counts what it sees. Orders come line by line: `count` answers with the number so far, `deny N`
has it refuse from now on: N is the destination's IPv4 address as the kernel stores it (connect,
address) or a process (lsm). The end of input ends it, and takes its program away.
"""

import ctypes
import os
import platform
import struct
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]

MAP_CREATE, MAP_LOOKUP, MAP_UPDATE, PROG_LOAD, PROG_ATTACH = 0, 1, 2, 5, 8
RAW_TRACEPOINT_OPEN, LINK_CREATE = 17, 28
ARRAY = 2
# Program type, attach type.
KINDS = {"connect": (18, 10), "address": (8, 1), "lsm": (29, 27), "tracepoint": (17, 0)}
ALLOW_MULTI = 2
SKB_LOAD_BYTES, LOOKUP, PID_TGID = 26, 1, 14
DESTINATION_IN_IPV4 = 16


def bpf(command, attributes, what):
    buffer = ctypes.create_string_buffer(attributes.ljust(144, b"\0"), 144)
    result = LIBC.syscall(BPF, command, buffer, 144)
    if result < 0:
        error = ctypes.get_errno()
        sys.exit(f"{what}: {os.strerror(error)}")
    return result


def address(thing):
    return ctypes.cast(thing, ctypes.c_void_p).value


def op(code, dst=0, src=0, off=0, imm=0):
    return struct.pack("<BBhi", code, dst | src << 4, off, imm)


def slot(table, key, missing):
    """r0 = the address of a slot of the table; jumps `missing` instructions on if there is none."""
    return b"".join([
        op(0x62, 10, off=-4, imm=key),
        op(0xBF, 2, 10),
        op(0x07, 2, imm=-4),
        op(0x18, 1, 1, imm=table),
        op(0),
        op(0x85, imm=LOOKUP),
        op(0x15, 0, off=missing),
    ])


def subject(kind):
    """r7 = what `deny` is compared with; r6 is the context."""
    if kind == "connect":
        return op(0x61, 7, 6, 4)  # user_ip4
    if kind == "address":
        return b"".join([
            op(0x7A, 10, off=-16),
            op(0xBF, 1, 6),
            op(0xB7, 2, imm=DESTINATION_IN_IPV4),
            op(0xBF, 3, 10),
            op(0x07, 3, imm=-16),
            op(0xB7, 4, imm=4),
            op(0x85, imm=SKB_LOAD_BYTES),
            op(0x61, 7, 10, -16),
        ])
    if kind == "lsm":
        return op(0x85, imm=PID_TGID) + op(0xBF, 7, 0) + op(0x77, 7, imm=32)
    return op(0xB7, 7, imm=0)


def program(kind, table):
    refuse, allow = {"lsm": (-1, 0), "tracepoint": (0, 0)}.get(kind, (0, 1))
    return b"".join([
        op(0xBF, 6, 1),
        slot(table, 0, 2),
        op(0xB7, 1, imm=1),
        op(0xDB, 0, 1),  # add r1 to the count
        subject(kind),
        slot(table, 1, 5),
        op(0x79, 1, 0),
        op(0x15, 1, off=3),  # nothing is refused yet
        op(0x5D, 1, 7, 2),
        op(0xB7, 0, imm=refuse),
        op(0x95),
        op(0xB7, 0, imm=allow),
        op(0x95),
    ])


def function_id(name):
    """The number of a function in the kernel's type information."""
    with open("/sys/kernel/btf/vmlinux", "rb") as file:
        btf = file.read()
    head, types, types_size, strings = struct.unpack_from("<4xIIII", btf)
    wanted = btf.index(b"\0" + name.encode() + b"\0", head + strings) + 1 - head - strings
    # What follows a type's twelve bytes, by kind: fixed, and per member.
    fixed = {1: 4, 3: 12, 14: 4, 17: 4}
    each = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}
    place, end, number = head + types, head + types + types_size, 1
    while place < end:
        name_at, info, _ = struct.unpack_from("<III", btf, place)
        kind = info >> 24 & 0x1F
        if kind == 12 and name_at == wanted:
            return number
        place += 12 + fixed.get(kind, 0) + each.get(kind, 0) * (info & 0xFFFF)
        number += 1
    sys.exit(f"this kernel has no function {name}")


kind = sys.argv[1]
program_type, attach_type = KINDS[kind]
table = bpf(MAP_CREATE, struct.pack("<IIIII", ARRAY, 4, 8, 2, 0), "make a map")
code = ctypes.create_string_buffer(program(kind, table))
license = ctypes.create_string_buffer(b"Dual MIT/GPL")
log = ctypes.create_string_buffer(1 << 16)
target = function_id("bpf_lsm_file_open") if kind == "lsm" else 0
load = struct.pack("<IIQQIIQ", program_type, (len(code) - 1) // 8, address(code), address(license),
                   0, 0, 0)
load += struct.pack("<II16sII", 0, 0, b"beside", 0, attach_type)
load = load.ljust(108, b"\0") + struct.pack("<I", target)
loaded = bpf(PROG_LOAD, load, "load a program")
if kind == "tracepoint":
    name = ctypes.create_string_buffer(b"sys_exit")
    bpf(RAW_TRACEPOINT_OPEN, struct.pack("<QI", address(name), loaded), "attach to sys_exit")
elif kind == "lsm":
    bpf(RAW_TRACEPOINT_OPEN, struct.pack("<QI", 0, loaded), "attach to file_open")
else:
    cgroup = os.open(sys.argv[2], os.O_RDONLY)
    attach = struct.pack("<IIII", cgroup, loaded, attach_type, ALLOW_MULTI)
    if kind == "connect":
        attach = struct.pack("<IIII", loaded, cgroup, attach_type, 0)
        bpf(LINK_CREATE, attach, "attach a link")
    else:
        bpf(PROG_ATTACH, attach, "attach to the cgroup")

print("ready", flush=True)
for line in sys.stdin:
    order, *given = line.split()
    number = ctypes.c_uint32(0 if order == "count" else 1)
    value = ctypes.c_uint64(int(given[0]) if given else 0)
    pointers = struct.pack("<I4xQQ", table, address(ctypes.pointer(number)),
                           address(ctypes.pointer(value)))
    bpf(MAP_LOOKUP if order == "count" else MAP_UPDATE, pointers, order)
    print(value.value, flush=True)
