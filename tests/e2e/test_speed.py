"""Speed does not fall back: ratios of runs of one process alone, with slack for a machine that does other work, too."""

import pytest

from concertdeblur.pipelines.bench import BenchJob, bench


@pytest.mark.alone
def test_the_shipped_weights_are_about_as_fast_as_they_were() -> None:
    """docs/performance.md has what was measured on two idle cores at 1280x720."""
    found = bench(BenchJob(height=256, width=384, frames=3, rounds=3))  # medians: one round in eight is off by a half
    assert found.iterations_mean > 0
    assert found.end_to_end_ratio > 0.6
    assert found.refine_ratio < 1.5  # G_p of a video is as large as G_i, and refines six tenths of the frame
    assert found.gemm_ratio is not None
    assert found.gemm_ratio > 0.25
    assert found.paper_ratio > 1.5
    # whether motion blurs the frame, what to refine, and the results between which flow is searched
    assert found.synchronisations_per_batch == 3
