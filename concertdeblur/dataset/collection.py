"""The clips of a list, local and fetched ones, each of them once."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from concertdeblur.dataset.downloads import Downloader
from concertdeblur.dataset.sources import Entry, Failure, Source, file_digest, local_clips, one_line
from concertdeblur.errors import SourceError


class Collection:
    """Gathers sources; titles are made unique, since a data set tells its sources apart by them."""

    def __init__(self, list_folder: Path, downloader: Downloader, *, on_warning: Callable[[str], None]) -> None:
        self._list_folder, self._downloader, self._on_warning = list_folder, downloader, on_warning
        self._sources: dict[str, Source] = {}
        self._titles: set[str] = set()

    @property
    def sources(self) -> list[Source]:
        """In the order of the list."""
        return list(self._sources.values())

    def add(self, entry: Entry) -> Iterator[Failure]:
        """Take the clips of one line; returns failures, for those that are missing or cannot be fetched."""
        if entry.is_url:
            yield from self._add_fetched(entry)
            return
        try:
            clips = local_clips(entry, self._list_folder)
        except SourceError as error:
            yield Failure(address=entry.address, reason=str(error))
            return
        for address, path in clips:
            try:
                sha256 = file_digest(path)
            except SourceError as error:
                yield Failure(address=address, reason=str(error))
                continue
            title = entry.title if len(clips) == 1 and entry.title else path.stem
            self._take(Source(address=address, path=path, sha256=sha256, title=title, licence=entry.licence))

    def add_known(self, sources: Iterable[Source]) -> None:
        """Take sources that an earlier run read and that are not there now."""
        for source in sources:
            self._take(source)

    def forget(self, source: Source) -> None:
        """Forget a fetched file that is no clip: it is fetched again next time."""
        self._downloader.forget(source.address)

    def _add_fetched(self, entry: Entry) -> Iterator[Failure]:
        for item in self._downloader.fetch(entry.address):
            if isinstance(item, Failure):
                yield item
                continue
            title = entry.title if entry.title and item.url == entry.address else item.title
            licence = entry.licence or item.licence
            source = Source(address=item.url, path=item.path, sha256=item.sha256, title=title, licence=licence)
            self._take(source)

    def _take(self, source: Source) -> None:
        before = self._sources.get(source.sha256)
        if before is not None:
            is_same = before.address == source.address
            how = "is in the list twice" if is_same else f"is the same clip as {before.address}"
            self._on_warning(f"{source.address}: {how}; it is taken once")
            return
        title = one_line(source.title) or source.key
        title = title if title not in self._titles else f"{title} ({source.key[:8]})"
        self._titles.add(title)
        self._sources[source.sha256] = Source(
            address=source.address, path=source.path, sha256=source.sha256, title=title, licence=source.licence
        )
