"""The reference client plays a session in process."""

from __future__ import annotations

from examples.program_client import InProcessWire, play


def test_the_reference_client_plays_a_session_and_goes_up_a_level() -> None:
    wire = InProcessWire()
    said = play(wire, 5, seconds=35, rest=60)
    assert [c["command_seq"] for c in said] == list(range(len(said)))
    assert said[0]["reason"] == "TARGET_BAND"
    assert "STEP_UP" in {c["action"] for c in said}
    assert len(wire.player.out["therapy.session_summary"]) == 1
