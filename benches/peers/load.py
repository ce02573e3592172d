"""Who used the processors while an arm was timed, from the kernel's counters."""

import os
import pathlib
import time

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def process_fields(pid):
    """What `/proc/PID/stat` says from the state on; none where the system does not tell."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None


def process_seconds(pid):
    """Processor time of a process so far."""
    fields = process_fields(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S if fields else 0.0


def major_faults(pid):
    """Pages that a process had to wait for the disk for."""
    fields = process_fields(pid)
    return int(fields[9]) if fields else 0


def machine_seconds():
    """(busy, stolen) seconds of all processors so far; None where the system does not tell."""
    try:
        line = pathlib.Path("/proc/stat").read_text().splitlines()[0]
    except OSError:
        return None
    user, nice, system, _, _, irq, softirq, steal = (int(n) for n in line.split()[1:9])
    return (user + nice + system + irq + softirq) / TICKS_PER_S, steal / TICKS_PER_S


class Watch:
    """Between its making and `read`: shares of all processors' time that waiting workers, other
    processes and the hypervisor took, and the timed process's major faults."""

    def __init__(self, own_pid, waiting_pids):
        self.own_pid, self.waiting_pids = own_pid, waiting_pids
        self.begin = self.now()
        self.major_faults = major_faults(own_pid)

    def now(self):
        waiting = sum(process_seconds(pid) for pid in self.waiting_pids)
        own = process_seconds(self.own_pid) + process_seconds(os.getpid())
        return time.monotonic(), machine_seconds(), own, waiting

    def read(self):
        begin, end = self.begin, self.now()
        if begin[1] is None or end[1] is None:
            return {}
        processors_s = (end[0] - begin[0]) * (os.cpu_count() or 1)
        waiting = end[3] - begin[3]
        others = (end[1][0] - begin[1][0]) - (end[2] - begin[2]) - waiting
        return dict(
            waiting_share=waiting / processors_s,
            other_load_share=max(0.0, others) / processors_s,
            steal_share=(end[1][1] - begin[1][1]) / processors_s,
            major_faults=major_faults(self.own_pid) - self.major_faults,
        )
