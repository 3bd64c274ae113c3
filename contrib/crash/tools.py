"""Small functions for replay."""

import hashlib
import json
import os
import subprocess
import time

# Seconds within which everything must happen.
PATIENCE = 40


def run(*args, check=True, **more):
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(args)}: {done.stderr.strip()}")
    return done


def names(directory):
    return os.listdir(directory) if os.path.isdir(directory) else []


def read(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError:
        return b""


def parse(text):
    try:
        return json.loads(text)
    except ValueError:
        return None


def is_over(text):
    return "finished_at" in (parse(text) or {})


def digest(text):
    return hashlib.sha256(text).hexdigest()[:16]


def apply(path, writes):
    with open(path, "r+b") as f:
        for _, offset, data in writes:
            f.seek(offset)
            f.write(data)


def wait_for(what, condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"waited in vain for {what}")
        time.sleep(0.01)
