from pathlib import Path

import pytest

from benchmarks.benches.load.tab import tab
from benchmarks.benches.services.viewer import CHROMIUM

PAGE = "data:text/html,<title>held</title>"
pytestmark = pytest.mark.skipif(not Path(CHROMIUM).is_file(), reason="Chromium is not installed")


def test_a_tab_counts_what_its_page_holds(tmp_path) -> None:
    with tab(CHROMIUM, PAGE, tmp_path / "profile") as page:
        page.wait_for("document.title == 'held'", timeout_s=20)
        before = page.memory_mb("RssAnon")
        page.evaluate("void (window.kept = Array.from({length: 16}, () => new Uint8Array(1 << 24).fill(1)))")
        # 16 times 16 MB. A page that has just started holds some 10 MB of its own for a while.
        assert 230 < page.memory_mb("RssAnon") - before < 290
        with pytest.raises(RuntimeError, match="nothing of that name"):
            page.evaluate("(() => { throw new Error('nothing of that name') })()")
        with pytest.raises(TimeoutError, match="did not become true"):
            page.wait_for("false", timeout_s=0.2)
