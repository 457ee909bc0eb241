"""Makes the site's virtual environment when it is missing, then becomes serve.py inside it.

Only the standard library is used here. The environment lies in the user's cache folder under a name that
contains the hash of requirements.txt, so that a changed pin never meets an old environment. A lock file
lets any number of launchers start at once: one builds, the others wait. The marker `ready` is written
last, so a build that was killed halfway is thrown away by the next launcher.
"""

import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"


def fail(message: str) -> None:
    """Ends the launcher with one line that says what to mend."""
    sys.exit(f"classified site: {message}")


def environment_folder() -> pathlib.Path:
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    pins = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    return cache / "tradepost" / "sites" / f"classified-py{python}-{pins}"


def build(environment: pathlib.Path, lock: int) -> None:
    """Makes the environment anew. Its helpers inherit the lock, so that one that outlives a killed launcher
    still keeps the next launcher from working in the same folder."""

    def run(*command: str) -> subprocess.CompletedProcess:
        return subprocess.run(command, capture_output=True, text=True, check=False, pass_fds=[lock])

    print("classified site: preparing its Python environment (once, about 15 s)", file=sys.stderr, flush=True)
    shutil.rmtree(environment, ignore_errors=True)
    made = run(sys.executable, "-m", "venv", str(environment))
    if made.returncode != 0:
        fail("python3 cannot make a virtual environment; install its venv module (Debian: apt-get install python3-venv)")
    options = ("--quiet", "--no-input", "--no-deps", "--disable-pip-version-check")
    python = str(environment / "bin" / "python")
    installed = run(python, "-m", "pip", "install", *options, "-r", str(REQUIREMENTS))
    if installed.returncode != 0:
        lines = installed.stderr.strip().splitlines() or ["no output"]
        fail(f"pip could not install the packages of {REQUIREMENTS}: {lines[-1]}")
    (environment / "ready").write_text("complete\n")


def environment_python() -> str:
    environment = environment_folder()
    if not (environment / "ready").exists():
        try:
            environment.parent.mkdir(parents=True, exist_ok=True)
            lock = open(environment.with_name(environment.name + ".lock"), "w", encoding="ascii")
        except OSError as error:
            fail(f"the cache folder {environment.parent} cannot be written ({error.strerror}); set XDG_CACHE_HOME to one that can")
        # The kernel drops the lock when its holder ends, however it ends.
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (environment / "ready").exists():
                build(environment, lock.fileno())
    return str(environment / "bin" / "python")


if __name__ == "__main__":
    if sys.version_info < (3, 10):
        fail(f"Python 3.10 or newer is needed, this is {sys.version.split()[0]}")
    python = environment_python()
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.execv(python, [python, str(HERE / "serve.py"), *sys.argv[1:]])
