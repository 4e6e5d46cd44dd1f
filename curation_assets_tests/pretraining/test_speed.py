"""Speeds: over all parts of a run, told while it goes on, and kept out of what is compared."""

import dataclasses

import pytest

from curation_assets.pretraining import speed
from curation_assets.pretraining.build import cost
from curation_assets.pretraining.config import RuntimeConfig, TrainResult
from curation_assets.pretraining.flops import training_flops
from curation_assets.pretraining.run_folder import RunFolder
from curation_assets.pretraining.speed import Meter, Speed
from curation_assets.pretraining.trainer import train
from curation_assets_tests.pretraining.small_run import CONFIG, Interrupted, InterruptedStream, stream

CPU = RuntimeConfig(device="cpu", flush_steps=7)


def test_a_meter_adds_laps_to_what_was_before(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(speed.time, "monotonic", lambda: clock[0])
    meter = Meter(rate=1e9, earlier=Speed(10, 5.0, 1e10))
    clock[0] = 140.0  # set-up
    meter.start()
    clock[0] = 142.0
    assert meter.lap(4) == Speed(4, 2.0, 2e9)
    clock[0] = 143.0
    meter.lap(0)  # a resume point
    assert meter.total == Speed(14, 8.0, 1.3e10)
    assert meter.total.share(2e8) == pytest.approx(14 * 2e8 / 1.3e10)
    assert Speed().share(1.0) == 0.0
    assert Speed.from_strings(meter.total.to_strings()) == meter.total
    assert Speed.from_strings({"format": "pt", "step": "3"}) == Speed(), "a resume point of before"


def test_a_resumed_run_counts_both_parts_and_no_step_twice(tmp_path):
    with pytest.raises(Interrupted):  # its resume point is of step 20
        train(CONFIG, InterruptedStream(stream(), 30), tmp_path, execution=CPU)
    first = RunFolder(tmp_path, {}).speed()
    assert first.steps == 20
    told = []
    result = train(CONFIG, stream(), tmp_path, execution=CPU, progress=lambda *line: told.append(line[3]))
    assert result.speed.steps == 40
    assert result.speed.seconds > first.seconds > 0
    assert train(CONFIG, stream(), tmp_path, execution=CPU).speed == result.speed, "kept with the run"
    assert "speed" not in (tmp_path / "result.json").read_text()
    assert all(note.startswith("loss 3.") and note.endswith(" % of the device's GEMM rate") for note in told)


def test_the_cost_of_several_seeds(tmp_path):
    def result(took):
        return TrainResult(tmp_path, 40, CONFIG.tokens, 3.0, 1.0, 8000, (), 0, took)

    flops = training_flops(CONFIG)
    made = cost(CONFIG, [result(Speed(40, 3.0, 4 * flops)), result(Speed(10, 2.0, flops))])
    assert made == {
        "flops": 2 * flops,
        "seconds_trained": 5.0,
        "tokens_per_second": 50 * 4 * 34 / 5,
        "share_of_peak": pytest.approx((flops + flops / 4) / (5 * flops)),
    }
    untimed = dataclasses.replace(result(Speed()))
    assert cost(CONFIG, [untimed]) == {"flops": flops, "seconds_trained": 0.0}
