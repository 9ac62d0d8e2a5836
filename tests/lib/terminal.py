"""terminal: a program on a pseudo-terminal, and what a person would see there.

    term = terminal.Terminal([pt.penstock_path(), "top"], env, columns=100, rows=30)
    term.wait(lambda: "echo" in term.page())
    term.press("q")
    assert term.end() == 0 and term.is_as_before()

page() understands what penstock draws with: home, erase to the end of the line or page, colours, carriage return.
"""
import ctypes
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

ENTER, LEAVE = "\033[?1049h", "\033[?1049l"


class Terminal:
    def __init__(self, argv, env, columns=80, rows=24):
        self.master, self.slave = pty.openpty()
        self.resize(columns, rows, tell=False)
        self.before = termios.tcgetattr(self.slave)
        self.output = ""
        self.code = None
        self.pid = os.fork()
        if self.pid == 0:
            try:
                ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: nothing outlives the test
                os.setsid()
                fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
                for fd in (0, 1, 2):
                    os.dup2(self.slave, fd)
                os.closerange(3, 256)
                os.execve(argv[0], [str(part) for part in argv], env)
            finally:
                os._exit(127)

    def resize(self, columns, rows, tell=True):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if tell:
            os.kill(self.pid, signal.SIGWINCH)

    def press(self, keys):
        os.write(self.master, keys.encode())

    def signal(self, number):
        os.kill(self.pid, number)

    def read(self):
        while select.select([self.master], [], [], 0.02)[0]:
            self.output += os.read(self.master, 65536).decode()

    def wait(self, cond, deadline=30):
        end = time.monotonic() + deadline
        while not cond():
            self.read()
            assert time.monotonic() < end, f"not within {deadline} s:\n{self.output[-3000:]}"

    def page(self):
        """The text of the last page that is complete; '' if there is none yet."""
        text = self.output[:self.output.rfind("\033[J") + 3]
        return re.sub(r"\033\[[0-9;?]*[A-Za-z]", "", text.rsplit("\033[H", 1)[-1]).replace("\r", "")

    def end(self, deadline=30):
        """Its exit code; negative: the signal that ended it."""
        stop = time.monotonic() + deadline
        while self.code is None:
            self.read()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            assert time.monotonic() < stop, f"it did not end within {deadline} s:\n{self.output[-3000:]}"
        self.read()
        return self.code

    def is_as_before(self):
        """Are the terminal's modes what they were, the page ours again, and the cursor there?"""
        ours = self.output.rfind(LEAVE) >= self.output.rfind(ENTER)
        cursor = self.output.rfind("\033[?25h") >= self.output.rfind("\033[?25l")
        return termios.tcgetattr(self.slave) == self.before and ours and cursor

    def stopped(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "T"

    def close(self):
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.master)
        os.close(self.slave)
