"""The paper's tables, made of the figures of single pictures; no pixels are pooled over pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from concertdeblur.blur import Kernel
from concertdeblur.evaluation.contenders import Contender
from concertdeblur.evaluation.pairs import CAPTURE, EvaluationPair
from concertdeblur.evaluation.statistics import Estimate, estimate

_SHOT_TYPES = ("CU", "MCU", "MS", "MLS", "LS", "XLS", "ADS", "MIS")  # the paper's order
_SEVEN = tuple(kernel.value for kernel in Kernel)


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """One contender's figures on one pair."""

    psnr_db: float
    ssim: float
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """Every contender's figures on one pair."""

    pair: EvaluationPair
    figures: Mapping[str, Figures]  # by the contender's key


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """The contents of one field of a table."""

    psnr_db: Estimate
    ssim: Estimate
    gain_db: Estimate  # over the blurred input


@dataclass(frozen=True, kw_only=True, slots=True)
class TableRow:
    """One kernel, shot type, or the mean."""

    name: str
    num_pairs: int
    fields: Mapping[str, Measured]  # by the contender's key


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table: one column a contender."""

    title: str
    columns: Mapping[str, str]  # key -> label
    rows: tuple[TableRow, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Margin:
    """How far BRMR is ahead of another contender, picture by picture."""

    over: str
    gain_db: Estimate
    paper_db: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """Seconds a picture, as measured while scoring."""

    label: str
    seconds: Estimate


class Tables:
    """All tables of one evaluation.

    Args:
        scored: The figures, at least one.
        contenders: The columns, in order; the first is the blurred input.
        seed: Of the bootstrap.
    """

    def __init__(self, scored: Sequence[Scored], contenders: Sequence[Contender], *, seed: int) -> None:
        self._scored, self._contenders, self._seed = scored, contenders, seed
        self._columns = {contender.key: contender.label for contender in contenders}

    def by_kernel(self) -> Table | None:
        """Table 2: the seven kernels and their mean; None where kernels are not known."""
        rows = [row for name in (*_SEVEN, CAPTURE) if (row := self._row(name, self._of(name)))]
        mean = self._row("mean of the seven", self._of_the_seven())
        if mean is not None:
            rows.insert(len(rows) - (rows[-1].name == CAPTURE), mean)
        return self._table("Table 2: by kernel", rows)

    def by_shot_type(self) -> Table | None:
        """Table 2: the shot types over the seven kernels; None where none is known."""
        known = {one.pair.shot_type for one in self._scored if one.pair.shot_type}
        names = [*(name for name in _SHOT_TYPES if name in known), *sorted(known - set(_SHOT_TYPES))]
        rows = [self._row(name, [one for one in self._of_the_seven() if one.pair.shot_type == name]) for name in names]
        return self._table("Table 2: by shot type", rows)

    def of_unknown_blur(self, title: str) -> Table | None:
        """Table 3: all pairs whose kernel is not known (GOPRO, REDS); None if there are none."""
        row = self._row("mean", self._of(""))
        return self._table(title, [row])

    def margins(self, key: str = "brmr") -> tuple[Margin, ...]:
        """How far `key` is ahead of every other contender: over the seven kernels; over all pairs if there are none."""
        some = self._of_the_seven() or self._scored
        return tuple(
            Margin(over=other.label, gain_db=self._gain(some, key, other.key), paper_db=other.margin_db)
            for other in self._contenders
            if other.key != key
        )

    def speeds(self) -> tuple[Speed, ...]:
        """Seconds a picture."""
        return tuple(
            Speed(
                label=c.label,
                seconds=self._estimate(self._scored, [one.figures[c.key].seconds for one in self._scored]),
            )
            for c in self._contenders[1:]
        )

    def _of(self, kernel: str) -> list[Scored]:
        return [one for one in self._scored if one.pair.kernel == kernel]

    def _of_the_seven(self) -> list[Scored]:
        return [one for one in self._scored if one.pair.is_of_the_seven]

    def _row(self, name: str, some: Sequence[Scored]) -> TableRow | None:
        if not some:
            return None
        fields = {
            key: Measured(
                psnr_db=self._estimate(some, [one.figures[key].psnr_db for one in some]),
                ssim=self._estimate(some, [one.figures[key].ssim for one in some]),
                gain_db=self._gain(some, key, self._contenders[0].key),
            )
            for key in self._columns
        }
        return TableRow(name=name, num_pairs=len(some), fields=fields)

    def _table(self, title: str, rows: Sequence[TableRow | None]) -> Table | None:
        kept = tuple(row for row in rows if row is not None)
        return Table(title=title, columns=self._columns, rows=kept) if kept else None

    def _gain(self, some: Sequence[Scored], key: str, over: str) -> Estimate:
        return self._estimate(some, [one.figures[key].psnr_db - one.figures[over].psnr_db for one in some])

    def _estimate(self, some: Sequence[Scored], values: Sequence[float]) -> Estimate:
        return estimate(values, [one.pair.group for one in some], seed=self._seed)
