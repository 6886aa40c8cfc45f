"""Options of a run on Google Cloud Dataflow. The graph is that of `pipelines.stream`; nothing of it could be run in the cloud."""

from __future__ import annotations

from collections.abc import Sequence

NEEDED = ("project", "region", "temp_location", "sdk_container_image")


def options(given: Sequence[str]) -> list[str]:
    """The site's options and those that the graph needs; the site's come last and win, except `--streaming`.

    Streaming Engine keeps state and timers outside the workers; the service account, network and private addresses are the
    site's affair (`--service_account_email`, `--subnetwork`, `--no_use_public_ips`).
    """
    return [
        "--runner=DataflowRunner", "--enable_streaming_engine", "--experiments=use_runner_v2",
        "--sdk_location=container", "--no_use_public_ips", *given, "--streaming",
    ]  # fmt: skip


def missing(given: Sequence[str]) -> list[str]:
    """Options without which Dataflow refuses a job with an own container."""
    names = {o.removeprefix("--").partition("=")[0] for o in given}
    return [n for n in NEEDED if n not in names]
