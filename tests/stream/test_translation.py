"""The unbounded graph as a portable pipeline: what every engine is handed, and what its state's addresses hang on."""

from __future__ import annotations

import json
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from connectors.kafka.options import KafkaOptions
from pipelines.on_dataflow import missing, options
from pipelines.stream import build
from pipelines.stream_options import Stream

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def proto() -> object:
    pipeline = beam.Pipeline(options=PipelineOptions(["--streaming"]))
    build(pipeline, Stream(KafkaOptions("127.0.0.1:1"), lanes=3))
    return pipeline.to_runner_api()


def test_labels_and_names_of_state_never_change(proto: object) -> None:
    """A savepoint finds its state by these names: a change is a migration, never an accident."""
    transforms = proto.components.transforms.values()  # type: ignore[attr-defined]
    names = {t.unique_name for t in transforms}
    assert {"Lanes", "Spread", "ReadLane", "ByPerson", "RunPerson", "Publish", "PublishLetters"} <= names
    (person,) = [
        t for t in transforms if t.unique_name.startswith("RunPerson") and t.spec.urn == "beam:transform:pardo:v1"
    ]
    payload = beam.portability.api.beam_runner_api_pb2.ParDoPayload.FromString(person.spec.payload)
    assert set(payload.state_specs) == {"mark", "machine", "waiting"}
    assert set(payload.timer_family_specs) == {"ts-due", "ts-turn"}


def test_reading_is_a_splittable_step_that_is_told_of_checkpoints(proto: object) -> None:
    transforms = proto.components.transforms.values()  # type: ignore[attr-defined]
    (read,) = [
        t for t in transforms if t.unique_name.startswith("ReadLane") and t.spec.urn == "beam:transform:pardo:v1"
    ]
    payload = beam.portability.api.beam_runner_api_pb2.ParDoPayload.FromString(read.spec.payload)
    assert payload.restriction_coder_id
    assert payload.requests_finalization
    assert payload.do_fn.urn


def test_persons_are_keyed_by_a_deterministic_coder(proto: object) -> None:
    transforms = proto.components.transforms.values()  # type: ignore[attr-defined]
    person = next(t for t in transforms if t.unique_name == "RunPerson")
    (source,) = person.inputs.values()
    coders = proto.components.coders  # type: ignore[attr-defined]
    kv = coders[proto.components.pcollections[source].coder_id]  # type: ignore[attr-defined]
    assert kv.spec.urn == "beam:coder:kv:v1"
    assert [coders[c].spec.urn for c in kv.component_coder_ids] == ["beam:coder:string_utf8:v1", "beam:coder:bytes:v1"]


def test_dataflow_is_handed_a_job_with_the_same_graph() -> None:
    pytest.importorskip("apitools", reason="apache-beam[gcp] is not installed")
    from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner
    from apache_beam.runners.dataflow.internal import apiclient

    given = [
        "--project=p",
        "--region=europe-west3",
        "--temp_location=gs://b/t",
        "--sdk_container_image=r/kairos-worker",
    ]
    opts = PipelineOptions(options(given))
    pipeline = beam.Pipeline(runner=DataflowRunner(), options=opts)
    build(pipeline, Stream(KafkaOptions("127.0.0.1:1"), lanes=3))
    made, _ = pipeline.to_runner_api(return_context=True)
    job = apiclient.Job(opts, made)
    assert job.proto.type == apiclient.dataflow.Job.TypeValueValuesEnum.JOB_TYPE_STREAMING


def test_dataflow_options_keep_streaming_and_name_what_is_missing() -> None:
    assert options(["--streaming=false"])[-1] == "--streaming"
    assert missing(["--project=p", "--region=r"]) == ["temp_location", "sdk_container_image"]


def test_the_template_asks_for_what_the_launcher_takes() -> None:
    asked = {p["name"] for p in json.loads((ROOT / "deploy/dataflow/metadata.json").read_text())["parameters"]}
    text = (ROOT / "deploy/dataflow/launch.py").read_text()
    assert all(f'"--{name}"' in text for name in asked)
