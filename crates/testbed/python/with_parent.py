"""Runs a command that dies with its parent: with_parent.py PARENT_PID ACCOUNT COMMAND [ARGUMENT...]

ACCOUNT is `same`, or the UID:GID that the command runs as.

On Linux the kernel kills the command when the thread that started it ends, however that happens
(SIGKILL, too). Elsewhere the command just runs.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

parent, account, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
if account != "same":
    # First: the kernel forgets the signal of the parent's death when a process changes its user.
    uid, gid = map(int, account.split(":"))
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
if sys.platform == "linux":
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit("prctl(PR_SET_PDEATHSIG): " + os.strerror(ctypes.get_errno()))
# The parent may have died before the line above took effect.
if os.getppid() != parent:
    sys.exit("the process that asked for this one is gone")
os.execvp(command[0], command)
