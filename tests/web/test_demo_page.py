"""scripts/demo --web: a newcomer's page, on a bot that trades."""

from __future__ import annotations

import os
import re
import signal
import subprocess

from config import PROJECT_ROOT
from mariadb_server.debian_packages import LOCAL_FOLDER
from page_server import Browser


def stream_answers(port: int) -> bool:
    try:
        return Browser(port).get("/").status == 200
    except OSError:
        return False


def test_the_link_of_a_demo_opens_its_page_and_nothing_is_left_of_it():
    environment = {name: text for name, text in os.environ.items() if "DISPLAY" not in name}
    demo = subprocess.Popen(
        [PROJECT_ROOT / "scripts" / "demo", "--web", "--plain"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    lines = []

    def read_line():
        lines.append(demo.stdout.readline())
        return lines[-1]

    with demo:
        try:
            while not (found := re.search(r":(\d+)/#token=(\S+)", read_line())):
                assert demo.poll() is None
            browser = Browser(int(found[1]))
            assert browser.sign_in(found[2]).status == 204
            stream = browser.stream()
            while len(stream.wait_for("status")["assets"]) < 3:
                pass
            stream.close()
            while "BTC/USD" not in read_line():  # the screen: it watches by now
                assert demo.poll() is None
        finally:
            demo.send_signal(signal.SIGINT)
        said = "".join(lines) + demo.stdout.read()
    assert "side.missed" not in said, "a start is no loss"
    assert demo.returncode == 0, said
    assert "#token=" in said, "the heading of each picture has the link"
    assert not list(LOCAL_FOLDER.glob(f"demo-{demo.pid}-*"))
    assert not stream_answers(int(found[1])), "nothing serves it any more"
