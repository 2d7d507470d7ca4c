"""The capacity guide follows the benchmarks that are committed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.capacity import BENCHMARKS, EXAMPLES, GUIDE, main, plan, read_costs, table


def test_the_guide_has_what_the_model_computes_from_the_benchmarks() -> None:
    assert "\n".join(table(read_costs(BENCHMARKS.read_text()))) in GUIDE.read_text()


def test_costs_are_those_of_the_tables() -> None:
    costs = read_costs(BENCHMARKS.read_text())
    # Milliseconds, as in the tables, and an event costs less than any call.
    assert 0.1 < costs.gateway["event"] * 10 < costs.gateway["openHold"] < costs.gateway["billing_page"] < 10
    assert set(costs.database) < set(costs.gateway)


def test_twice_the_load_needs_twice_the_cores(capsys: pytest.CaptureFixture[str]) -> None:
    costs = read_costs(BENCHMARKS.read_text())
    load = EXAMPLES["past one server"]
    twice = replace(load, pages=2 * load.pages, more=2 * load.more, posts=2 * load.posts, events=2 * load.events)
    needs, doubled = (float(plan(one, costs)[0][1]) for one in (load, twice))
    assert doubled == pytest.approx(2 * needs, abs=0.11)
    main(["--pages", "1"])
    assert "gateway processes                2\n" in capsys.readouterr().out
