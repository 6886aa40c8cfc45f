"""A pool of Python workers for Flink's `environment_type` EXTERNAL, on loopback only.

Beam's own pool opens its port on all interfaces and would start any program's worker; this one binds to 127.0.0.1.
"""

from __future__ import annotations

import atexit
import signal
import sys

from deploy.local.service import LOOPBACK, must_be_free


def serve(port: int, boot: str) -> None:
    """Serve until the process is ended; its workers end with it.

    Parameters
    ----------
    boot
        Executable that becomes a worker (`Flink.worker`).

    Raises
    ------
    StackError
        The port is taken.
    """
    import grpc
    from apache_beam.portability.api import beam_fn_api_pb2_grpc
    from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer, kill_process_gracefully
    from apache_beam.utils import thread_pool_executor

    must_be_free(port)
    server = grpc.server(thread_pool_executor.shared_unbounded_instance())
    server.add_insecure_port(f"{LOOPBACK}:{port}")
    pool = BeamFnExternalWorkerPoolServicer(use_process=True, container_executable=boot)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    atexit.register(lambda: [kill_process_gracefully(p) for p in pool._worker_processes.values()])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # atexit knows nothing of a signal
    server.start()
    print(f"workers at {LOOPBACK}:{port}; Ctrl-C ends them", flush=True)
    server.wait_for_termination()
