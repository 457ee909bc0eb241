"""Serves the classifieds site on loopback. Started by run.sh inside the environment that launch.py makes."""

import argparse
import errno
import fcntl
import os
import pathlib
import signal
import socket
import sys
import threading

import django
from django.conf import settings

import faults
from site_settings import settings_for


def fail(message: str) -> None:
    """Ends the program with one line that says what to mend."""
    sys.exit(f"classified site: {message}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="sites/classified/run.sh", description="A third-party classifieds site to practise on.")
    parser.add_argument("--data", required=True, type=pathlib.Path, help="folder for the database and the uploads")
    parser.add_argument("--port", type=int, default=8801, help="port on 127.0.0.1; 0 takes a free one (default 8801)")
    parser.add_argument("--sellers", "--users", type=int, default=3, help="how many sellerN@example.com exist (default 3)")
    parser.add_argument("--language", default="en", help="language when the browser asks for none the site has (default en)")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME=VALUE", help="may be repeated; see README.md")
    return parser.parse_args()


def claim_data_folder(data: pathlib.Path):
    """Creates the folder and locks it: two sites on one database would mix up their uploads."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock = open(data / "site.lock", "w", encoding="ascii")
    except OSError as error:
        fail(f"the data folder {data} cannot be written ({error.strerror}); choose another with --data")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        fail(f"the data folder {data} is in use by another classified site; stop it or choose another with --data")
    return lock


def make_server(port: int):
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
    from django.core.wsgi import get_wsgi_application

    class Handler(WSGIRequestHandler):
        # One request a connection. Chromium sends a POST again by itself when a kept-alive connection is
        # cut, which would turn one lost reply into two items.
        protocol_version = "HTTP/1.0"

        def get_environ(self):
            environ = super().get_environ()
            environ[faults.CUT] = self._cut
            return environ

        def _cut(self):
            # An orderly end without a byte of reply; what is written afterwards goes nowhere.
            self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, *_):
            pass

    class Server(ThreadedWSGIServer):
        request_queue_size = 64

        def handle_error(self, request, client_address):
            # A browser that went away, or a connection cut on purpose, is everyday business here.
            if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
                super().handle_error(request, client_address)

    try:
        server = Server(("127.0.0.1", port), Handler)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            fail(f"port {port} is taken; choose another with --port, or 0 for a free one")
        fail(f"cannot listen on port {port}: {error.strerror}")
    except OverflowError:
        fail(f"port {port} is out of range; ports go from 0 to 65535")
    server.set_app(StaticFilesHandler(get_wsgi_application()))
    return server


def main() -> None:
    args = arguments()
    for fault in args.fault:
        name, _, value = fault.partition("=")
        try:
            faults.FAULTS.set(name, value)
        except faults.UnknownFault as error:
            fail(str(error))
    data = args.data.resolve()
    lock = claim_data_folder(data)
    settings.configure(**settings_for(data, args.language))
    django.setup()

    from seed import seed

    seed(args.sellers)
    server = make_server(args.port)
    for number in (signal.SIGTERM, signal.SIGINT):
        # shutdown() waits for serve_forever(), which runs in this very thread: ask from another one.
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown, daemon=True).start())
    print(f"classified site on http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    lock.close()


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    main()
