"""Package metadata and dependency ranges. Exact versions that CI passed with: requirements/tested.txt."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def read_version() -> str:
    for line in (ROOT / 'selfsup' / '__init__.py').read_text().splitlines():
        if line.startswith('__version__'):
            return line.split("'")[1]
    raise RuntimeError('selfsup/__init__.py has no __version__ line')


setup(
    name='selfsup',
    version=read_version(),
    description='Self-supervised vision from config files: MoCo, SimCLR, BYOL and more on one runner',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['selfsup', 'selfsup.*']),
    package_data={'selfsup': ['py.typed']},
    python_requires='>=3.10',
    install_requires=[
        'torch>=2.6',
        'torchvision',
        # 0.10.7, the last final release, cannot resume on torch >= 2.6 and needs pkg_resources; see docs/architecture.md
        'mmengine>=0.11.0rc3,<0.12',
        'mmcv-lite>=2.2',
        'timm>=1.0',
        'annotated-types>=0.6',
        'numpy>=1.24',
        'tensorboard',
        'pillow',
        'scikit-learn',
        'matplotlib',
        'packaging',
    ],
    extras_require={
        'detection': ['pycocotools'],
        'convert': ['safetensors', 'onnx', 'onnxscript', 'onnxruntime'],
        # other places for images: tables, data bases, shards at URLs, rasters; and a faster decoder of JPEG
        'data': ['datasets>=3', 'fsspec', 'lmdb', 'pyarrow>=14', 'simplejpeg', 'tifffile'],
        'slurm': ['submitit>=1.5'],
        'dev': ['pytest>=8', 'pytest-xdist', 'ruff>=0.12', 'mypy>=1.15', 'pre-commit'],
    },
    classifiers=['Programming Language :: Python :: 3', 'License :: OSI Approved :: Apache Software License'],
)
