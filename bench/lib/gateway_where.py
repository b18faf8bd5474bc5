"""Where the CPU time of a request goes: samples of our gateway under load (`perf`, 4,000 a second), grouped, in microseconds."""

import collections
import os
import re
import statistics
import subprocess

from gateway_measure import Running, wrk

# A sample below one of these calls is that call's, the first that fits.
KERNEL = [
    ("__x64_sys_(sendto|sendmsg|writev)", "send, with the receiving side of it"),
    ("__x64_sys_(recvfrom|readv|read)$", "receive"),
    ("__x64_sys_epoll", "wait for the next"),
    ("__x64_sys_fdatasync", "the journal to the disk"),
    ("asm_exc_page_fault", "pages, of the journal most of all"),
    ("do_syscall_64", "other calls"),
]
# Any other is of the function that ran, the first that fits.
OURS = [
    ("sha2|Credential|authenticate|keys::text|Sharded|crc32fast|subtle", "key: digest, look-up, checks"),
    ("limits|path::limit|announce|FilterMap|say_ours|cmpxchg", "limits: decide, charge, say"),
    ("access|authorise", "permission"),
    ("quota", "quota"),
    ("context", "signed context"),
    ("resolve|tenancy|host_", "tenant by host"),
    ("routes::|prepare|examine", "request examined, route found"),
    ("recording|crc32c|rowhouse_journal|traceparent", "record"),
    ("hyper|httparse|http::|caller::", "HTTP of the caller's side"),
    ("upstream::|onward|Onward|balance", "HTTP of the service's side"),
    ("serve::pass|path::", "the request's task"),
    ("tokio|mio|welcome|rust_begin|poll|std::sys|clock_gettime|Timespec|__send|recv|epoll|cancel", "runtime, clock, calls"),
    ("mi_|bytes::|mem(move|cpy|set|cmp)|RawVec|realloc|drop", "memory: allocate, copy, free"),
]


def group(stack):
    for pattern, name in KERNEL:
        if any(re.search(pattern, function) for function in stack):
            return f"kernel: {name}"
    return next((name for pattern, name in OURS if re.search(pattern, stack[0])), "rest")


def samples(data):
    """How many samples each group has."""
    shares = collections.Counter()
    script = subprocess.run(["perf", "script", "-i", data, "-F", "ip,sym"], capture_output=True, text=True, check=True)
    for stack in script.stdout.split("\n\n"):
        functions = [line.strip().partition(" ")[2] for line in stack.splitlines() if line.strip()]
        if functions:
            shares[group(functions)] += 1
    return shares


def where(contestants, results, home, files, seconds):
    """By contestant of ours: microseconds of each group, of the median that the rounds had."""
    found = {}
    for contestant in contestants:
        data = os.path.join(home, f"{contestant.name}.perf")
        with Running(contestant, home) as running:
            what = files[contestant.name](contestant) if contestant.policy else "plain"
            wrk(contestant, 1, what)
            perf = subprocess.Popen(
                ["perf", "record", "-q", "-e", "cpu-clock", "-F", "4000", "-g", "-o", data, "-p", str(running.process.pid),
                 "--", "sleep", str(seconds)], stderr=subprocess.DEVNULL)
            load = wrk(contestant, seconds, what)
            perf.wait()
        if load["bad_status"] or load["errors"]:
            raise SystemExit(f"{contestant.name}: not every request was answered with 200: {load}")
        shares = samples(data)
        each = statistics.median(one["us"] for one in results[contestant.name])
        found[contestant.name] = {name: each * count / shares.total() for name, count in shares.most_common()}
    return found


def table(found):
    """Lines of the groups, the dearest first, a column for each contestant."""
    names = list(found)
    groups = dict.fromkeys(name for one in found.values() for name in one)
    yield f"{'µs of a request':<48}" + "".join(f"{name:>10}" for name in names)
    for one in sorted(groups, key=lambda one: -max(found[name].get(one, 0) for name in names)):
        yield f"{one:<48}" + "".join(f"{found[name].get(one, 0):>10.2f}" for name in names)
