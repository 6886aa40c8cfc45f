"""What Beam's `boot` program does in the SDK container, in Python: asks the runner what to do and becomes an SDK worker.

    python -m deploy.flink.worker_boot --id=1-1 --provision_endpoint=HOST:PORT …

For `environment_type` PROCESS and for worker pools (EXTERNAL) on machines without Docker. It installs nothing: Kairos must be
installed in the environment of this Python, in the same version as where the job was submitted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile


def main(argv: list[str] | None = None) -> None:
    """Never returns: the process becomes the worker."""
    import grpc
    from apache_beam.portability.api import beam_provision_api_pb2 as provision
    from apache_beam.portability.api import beam_provision_api_pb2_grpc as provision_grpc
    from apache_beam.portability.api import endpoints_pb2
    from google.protobuf import json_format, text_format

    parser = argparse.ArgumentParser(description="Become a Beam SDK worker.")
    for name in (
        "id",
        "provision_endpoint",
        "logging_endpoint",
        "artifact_endpoint",
        "control_endpoint",
        "semi_persist_dir",
    ):
        parser.add_argument(f"--{name}")
    args, _ = parser.parse_known_args(argv)
    info = None
    if args.provision_endpoint:
        with grpc.insecure_channel(args.provision_endpoint) as channel:
            stub = provision_grpc.ProvisionServiceStub(channel)
            request = provision.GetProvisionInfoRequest()
            info = stub.GetProvisionInfo(request, metadata=[("worker_id", args.id)], timeout=30).info

    def descriptor(url: str | None) -> str:
        return str(text_format.MessageToString(endpoints_pb2.ApiServiceDescriptor(url=url or "")))

    env = dict(os.environ)
    env["WORKER_ID"] = args.id
    env["LOGGING_API_SERVICE_DESCRIPTOR"] = descriptor((info and info.logging_endpoint.url) or args.logging_endpoint)
    env["CONTROL_API_SERVICE_DESCRIPTOR"] = descriptor((info and info.control_endpoint.url) or args.control_endpoint)
    env["PIPELINE_OPTIONS"] = json.dumps(json_format.MessageToDict(info.pipeline_options)) if info else "{}"
    env["RUNNER_CAPABILITIES"] = " ".join(info.runner_capabilities) if info else ""
    env["SEMI_PERSISTENT_DIRECTORY"] = args.semi_persist_dir or tempfile.gettempdir()
    os.execve(sys.executable, [sys.executable, "-m", "apache_beam.runners.worker.sdk_worker_main"], env)


if __name__ == "__main__":
    main()
