"""Images decoded once, made small and kept as they are in memory: `cache=dict(size=256, where='memory' | FOLDER)`.

`source.py` puts a cached source in the place of a data source; start there. `images.py` says what is stored of an image, `store.py` how
it lies in files or in shared memory and how it is read, `place.py` where that is and whether there is room, `builder.py` fills it with
several processes, `progress.py` tells how far they are. Nothing here draws a random number.
"""

from .source import CachedSource, CacheSettings, cached

__all__ = ['CacheSettings', 'CachedSource', 'cached']
