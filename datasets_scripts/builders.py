"""The corpora as ``datasets`` builders, for code that wants one: splits, caching, ``num_proc``.

::

    builder = ShareGPT(release="out/releases/sharegpt-1.2.0", config_name="en")
    builder.download_and_prepare(num_proc=2)
    dialogs = builder.as_dataset(split="train")

A builder reads a release that exists and is intact; its shards are what ``num_proc`` and the
workers of a stream share. What is prepared is cached under the digests of the release's files.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import datasets

from datasets_scripts.sharegpt import build as sharegpt
from datasets_scripts.sharegpt import work
from datasets_scripts.ultrachat import rows
from datasets_scripts.ultrachat import settings as ultrachat
from ultra import loading, release
from ultra.errors import InputError, SettingError

Example = tuple[int, dict[str, Any]]


def _configs(version: str, *names: str) -> list[datasets.BuilderConfig]:
    return [datasets.BuilderConfig(name, datasets.Version(version)) for name in names]


class _Corpus(datasets.GeneratorBasedBuilder):  # type: ignore[misc]
    """A builder over the release of a corpus; its version is that of the release."""

    CORPUS: ClassVar[str]

    def __init__(
        self,
        *,
        release: str | Path,
        config_name: str | None = None,
        cache_dir: str | Path | None = None,
    ) -> None:
        found = _intact(release, self.CORPUS)
        config = found.config_or_default(config_name)
        self._splits = {split: found.entries(config, split) for split in _splits(found, config)}
        files = [entry for entries in self._splits.values() for entry in entries]
        if found.repo:
            found.fetch(files)
        self._found, self._features = found, found.features(config)
        version = found.manifest["version"]
        super().__init__(
            cache_dir=cache_dir and str(cache_dir),
            dataset_name=self.CORPUS,
            config_name=config,
            config_id=f"{config}-{version}",  # by its bare name a configuration has one version
            version=datasets.Version(version),
            hash=loading.fingerprint(found, files),
        )

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=self._features)

    def _split_generators(self, _: Any) -> list[datasets.SplitGenerator]:
        return [
            datasets.SplitGenerator(name=split, gen_kwargs=self._found.places(entries))
            for split, entries in self._splits.items()
        ]

    def _generate_examples(self, files: list[str], digests: list[str]) -> Iterator[Example]:
        yield from enumerate(loading.read(files, digests))


class ShareGPT(_Corpus):
    """Conversations from saved ShareGPT pages."""

    CORPUS = work.CORPUS
    VERSION = datasets.Version(sharegpt.VERSION)
    BUILDER_CONFIGS = _configs(sharegpt.VERSION, *sharegpt.CONFIGS)
    DEFAULT_CONFIG_NAME = "all"

    def __init__(
        self,
        *,
        release: str | Path | None = None,
        raw: str | Path | None = None,
        out: str | Path = sharegpt.Settings.out,
        config_name: str | None = None,
        cache_dir: str | Path | None = None,
    ) -> None:
        """Read a release: a directory, or ``org/name@v1.2.0`` on the Hub.

        Args:
            release: the release to read.
            raw: instead of it pages and dumps, of which a release is first built in ``out``.
            out: folder in which that release is made, or found already made from ``raw``.
            config_name: by default the one that ``load_dataset`` takes.
            cache_dir: by default that of ``datasets``.

        Raises:
            SettingError: not one of ``release`` and ``raw`` is given.
            InputError: the release or the input is missing or damaged, or of another corpus.
            OutputError: ``out`` holds a release of another input.
        """
        if (release is None) == (raw is None):
            raise SettingError("release, raw: give one of them")
        if release is None:
            release = sharegpt.build(sharegpt.Settings(raw=str(raw), out=Path(out)))
        super().__init__(release=release, config_name=config_name, cache_dir=cache_dir)


class UltraChat(_Corpus):
    """Simulated dialogues; ``release`` must exist, since only the build talks to models."""

    CORPUS = rows.CORPUS
    VERSION = datasets.Version(ultrachat.VERSION)
    BUILDER_CONFIGS = _configs(ultrachat.VERSION, *ultrachat.CONFIGS)
    DEFAULT_CONFIG_NAME = "all"


def _intact(name: str | Path, corpus: str) -> loading.Found:
    found = loading.find(name)
    if found.manifest["corpus"] != corpus:
        raise InputError(f"{found.name}: is of the corpus {found.manifest['corpus']}, not {corpus}")
    if not found.repo:
        release.verify(found.folder)
    return found


def _splits(found: loading.Found, config: str) -> list[str]:
    return list(found.manifest["splits"][config])
