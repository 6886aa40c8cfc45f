"""Packaging of Kairos. Research software, not a medical device."""

from setuptools import find_namespace_packages, setup

ROOMS = ("schemas", "connectors", "pipelines", "content", "simulator", "kairos", "deploy")

LIBRDKAFKA = ["confluent-kafka>=2.16,<3"]

setup(
    name="kairos-jitai",
    version="0.1.0",
    description="Just-in-time support in psychotherapy: device events in, explained and consented notifications out. "
    "Research software, not a medical device.",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_namespace_packages(include=[p for r in ROOMS for p in (r, f"{r}.*")]),
    package_data={
        "schemas": ["**/*.json"],
        "content": ["**/*.yaml", "**/*.json", "**/*.md", "**/*.bin"],
        "simulator": ["**/*.yaml"],
        "kairos": ["py.typed"],
        "deploy": ["**/*.xml", "**/*.sha256", "**/*.yaml", "**/*.java", "**/*.json", "**/Dockerfile"],
    },
    install_requires=[
        "apache-beam>=2.77,<2.78",
        "river>=0.26.1,<0.27",
        "pyarrow>=23,<27",
        "kafka-python[crc32c,lz4,zstd]>=3.0.12,<3.1",
        "numpy>=2.1,<3",
        "scipy>=1.14,<2",
        "fastavro>=1.12,<2",
        "orjson>=3.11,<4",
        "cryptography>=45,<52",
        "wordllama>=0.4.0.post1,<0.5",  # 16 MB of frozen token vectors and a tokenizer; read from its files only
        "tokenizers>=0.22,<1",
        "safetensors>=0.5,<1",
        "PyYAML>=6.0,<7",
        "typer>=0.20,<1",
        "rich>=14,<16",
        "prometheus-client>=0.23,<1",
    ],
    extras_require={
        "librdkafka": LIBRDKAFKA,  # reads and sends for a fraction of the CPU; used where it is installed (docs/live.md)
        "dev": [
            *LIBRDKAFKA,
            "pytest>=9,<10",
            "pytest-xdist>=3.6,<4",
            "hypothesis>=6.130,<7",
            "mypy>=2,<3",
            "ruff>=0.15,<0.18",
            "types-PyYAML",
        ]
    },
    entry_points={"console_scripts": ["kairos=kairos.main:main"]},
)
