"""`make bench`: each benchmark notes what it measures; at the end all of it is printed as a table and written as JSON."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from bench_table import Measure, Measures, table, write

MEASURES = pytest.StashKey[Measures]()


class BenchReport:
    """Collects the measures and seconds of all benchmarks of a session."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: list[Measure] = []
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        missed: list[str] = []
        try:
            yield
        finally:
            self.found += extra_info(item)
            if MEASURES in item.stash:
                self.found += item.stash[MEASURES].found
                missed = item.stash[MEASURES].missed()
        if missed:
            pytest.fail("; ".join(missed), pytrace=False)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = round(self.seconds.get(report.nodeid, 0.0) + report.duration, 2)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.found:
            return
        write(self.path, self.found, self.seconds)
        limited = [measure for measure in self.found if measure.most is not None or measure.least is not None]
        terminalreporter.section("measures")
        terminalreporter.write(table(self.found))
        terminalreporter.write_line(f"{sum(not measure.is_met for measure in limited)} of {len(limited)} limits missed; all"
                                    f" numbers are in {self.path}")


def extra_info(item: pytest.Item) -> list[Measure]:
    """Give the numbers of a benchmark that notes them by pytest-benchmark's fixture, and judges them itself."""
    fixture = getattr(item, "funcargs", {}).get("benchmark")
    numbers = fixture.extra_info.items() if fixture else ()
    return [Measure(item.path.stem.removeprefix("test_"), name, float(value), "") for name, value in numbers
            if isinstance(value, int | float)]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bench-json", type=Path, default=Path("runs/bench.json"), help="file that all measures are written to")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(BenchReport(config.getoption("--bench-json")))


@pytest.fixture
def measures(request: pytest.FixtureRequest) -> Measures:
    """What a benchmark notes its ratios and numbers in."""
    made = Measures(request.node.path.stem.removeprefix("test_"))
    request.node.stash[MEASURES] = made
    return made
