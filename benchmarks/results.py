"""The samples of a run, and the medians and ratios made of them."""

import statistics
from dataclasses import dataclass, field

from benchmarks.contenders import Contender
from benchmarks.measurements import Measurement, Metric, Sample


@dataclass
class Results:
    """Samples by measurement and contender, one for each round."""

    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    failures: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, measurement: str, contender: str, sample: Sample) -> None:
        self.samples.setdefault(measurement, {}).setdefault(contender, []).append(sample)

    def fail(self, measurement: str, contender: str, reason: str) -> None:
        self.failures.setdefault(measurement, {})[contender] = reason

    def values(self, measurement: str, contender: str, metric: str) -> list[float]:
        samples = self.samples.get(measurement, {}).get(contender, [])
        return [sample[metric] for sample in samples if metric in sample]

    def median(self, measurement: str, contender: str, metric: str) -> float | None:
        values = self.values(measurement, contender, metric)
        return statistics.median(values) if values else None

    def spread(self, measurement: str, contender: str, metric: str) -> float | None:
        """Return (largest - smallest) / median over the rounds."""
        values = self.values(measurement, contender, metric)
        middle = statistics.median(values) if values else 0
        return (max(values) - min(values)) / middle if len(values) > 1 and middle else None

    def ratio(self, measurement: str, of: str, to: str, metric: str) -> float | None:
        """Return the median of ``of`` over the median of ``to``."""
        above = self.median(measurement, of, metric)
        below = self.median(measurement, to, metric)
        return above / below if above is not None and below else None

    def row_ratio(self, measurement: Measurement, contender: Contender, metric: Metric) -> float | None:
        """Return greenpool over this row or, in a scaling measurement, this row over its one-hub row."""
        if contender.over is not None:
            return self.ratio(measurement.name, contender.name, contender.over, metric.key)
        reference = measurement.reference
        if reference is None:
            return None
        return self.ratio(measurement.name, reference, contender.name, metric.key)
