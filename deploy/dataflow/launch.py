"""Entry point of the Dataflow flex template (`metadata.json`): builds the unbounded graph and hands it to Dataflow.

Could not be run where it was written: there is no cloud there. Research software. Not a medical device.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from connectors.kafka.options import KafkaOptions
from pipelines.on_dataflow import options
from pipelines.settings import Settings
from pipelines.stream import build
from pipelines.stream_options import Stream


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--group", default="kairos")
    parser.add_argument("--lanes", type=int, required=True)
    parser.add_argument("--config", type=Path)
    args, rest = parser.parse_known_args(argv)
    stream = Stream(KafkaOptions.load(args.config, args.brokers), Settings.load(args.config), group=args.group, lanes=args.lanes)
    pipeline = beam.Pipeline(options=PipelineOptions(options(rest)))
    build(pipeline, stream)
    pipeline.run()


if __name__ == "__main__":
    main()
