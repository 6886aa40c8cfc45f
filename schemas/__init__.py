"""Topics as data: every field with unit, range and meaning; who may read; records in JSON, Avro and Arrow (topics.md).

One file a topic stands in `schemas/definitions/`. Names and enum values are final; a new field is optional.
"""

from schemas.topics import ENVELOPE, TOPICS, Field, Topic, UnknownTopic, topic

__all__ = ["ENVELOPE", "TOPICS", "Field", "Topic", "UnknownTopic", "topic"]
