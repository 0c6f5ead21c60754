"""`configs/http.yaml` from a C++ S7 server to an HTTP server, both ends killed meanwhile."""

import pytest

from tests.parts.line import ROOT, judge
from tests.parts.receiver import receiver_thread
from tests.parts.waiting import wait_until

pytestmark = [pytest.mark.real("native_plc"), pytest.mark.timeout(180)]

HTTP = ROOT / "configs" / "http.yaml"


def test_kills_of_both_ends_lose_nothing_that_is_on_disk_first(line, press, data_dir, tmp_path):
    """`commit_interval: 0s`, 50 reads a second: three times kill -9, the server away in between; no boot has a gap."""
    text = HTTP.read_text(encoding="utf-8")
    assert "max_age: 7d}" in text
    file = tmp_path / "http.yaml"
    file.write_text(
        text.replace("max_age: 7d}", "max_age: 7d, commit_interval: 0s}").replace("linger: 2s", "linger: 50ms")
    )
    with receiver_thread() as receiver:
        pipeline = line(
            file,
            {
                "PLC_IP": "127.0.0.1",
                "PLC_PORT": str(press.port),
                "PLC_ID": "press1",
                "TENANT_ID": "acme",
                "HTTP_URL": f"http://127.0.0.1:{receiver.port}/in",
                "HTTP_COMPRESSION": "gzip",
                "POLL_INTERVAL": "20ms",
                "DATA_DIR": str(data_dir),
            },
        )
        for _ in range(3):
            pipeline.wait_ready()
            seen = len(receiver.taken)
            wait_until(lambda seen=seen: len(receiver.taken) > seen + 50, "more frames")
            receiver.kill()
            wait_until(lambda: pipeline.metric("edge_backlog_size") > 50, "a backlog")
            pipeline.kill()
            receiver.revive()
            pipeline.start()
        pipeline.wait_ready()
        wait_until(lambda: pipeline.metric("edge_backlog_size") == 0, "all is drained")
        assert pipeline.terminate() == 0
        verdict = judge(receiver.taken)
    assert len(verdict.highest) == 4
    assert verdict.lost == {}
    assert verdict.disorder == 0
