"""Which members of a tar are images."""

# What any decoder may read; whether this machine's does, it says when it meets one.
IMAGE_ENDINGS = (
    'jpg', 'jpeg', 'jpe', 'jfif', 'png', 'bmp', 'webp', 'gif', 'tif', 'tiff', 'ppm', 'pgm', 'pnm', 'jp2', 'j2k', 'avif', 'heic', 'heif'
)  # fmt: skip
